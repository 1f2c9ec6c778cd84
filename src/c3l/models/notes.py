"""What is done otherwise with a model than with most: said once, and kept with all that is made with it."""

import logging
from collections.abc import Iterable
from dataclasses import replace

from c3l.records import Provenance

logger = logging.getLogger(__name__)


def add_notes(provenance: Provenance, notes: Iterable[str]) -> Provenance:
    """The provenance with these lines, each said aloud; empty ones are left out."""
    told = tuple(note for note in notes if note)
    for note in told:
        logger.warning("%s", note)
    return replace(provenance, notes=(*provenance.notes, *told))
