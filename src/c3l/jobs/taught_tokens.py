"""Which tokens of the rows an LVLM is taught: all, or those that the image makes likeliest, measured once.

The idea is that of VIG (arXiv 2602.17186): what language alone foretells teaches nothing about images.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from c3l.data.formats import ConversationRow
from c3l.jobs.learnable import make_opener, to_conversation
from c3l.method.batching import map_ahead
from c3l.models.tunable import FinetunableModel
from c3l.progress import Progress
from c3l.records import from_json, to_json
from c3l.settings.schema import RunConfig
from c3l.storage.journal import append_lines, peek_lines, read_lines

_SYNC_EVERY = 16  # rows between lines that are on the disk


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """Which tokens of a row are taught.

    Attributes:
        place: The row's, among all rows.
        tokens: Number of tokens of its answers, with the ends of their turns; not of answers that its data marks.
        skipped: Numbers of those that are not taught, counted from the first on.
    """

    place: int
    tokens: int
    skipped: tuple[int, ...]


Choices = Mapping[int, TokenChoice]
"""By the place of the row."""


def weigh_tokens(
    rows: Mapping[int, ConversationRow],
    file: Path,
    config: RunConfig,
    lvlm: FinetunableModel,
    progress: Progress,
    *,
    writes: bool = True,
) -> dict[int, TokenChoice]:
    """What is taught of every row; nothing is measured, and nothing comes back, where all is.

    Args:
        rows: What can be learned, by place.
        file: Where it is kept line by line; what it holds is not measured again.
        config: ``finetuning.taught_share``, and how images are opened.
        lvlm: The model, before it learns.
        progress: Who is told how far it is.
        writes: Whether the file is this process's: of several, each measures for itself what it does not find there.

    Raises:
        BackendError: If the model gives what is no number.
    """
    share = config.finetuning.taught_share
    if share is None:
        return {}
    lines = read_lines(file) if writes else peek_lines(file)
    known = {one.place: one for one in (from_json(TokenChoice, line) for line in lines)}
    rest = ((place, row) for place, row in rows.items() if place not in known)
    made = _weigh(rest, share, config, lvlm)
    with progress.track("weigh tokens", "rows", len(rows), len(known)) as advance:
        while block := list(islice(made, _SYNC_EVERY)):
            if writes:
                append_lines(file, map(to_json, block))
            known |= {one.place: one for one in block}
            advance(len(block))
    return known


def _weigh(
    rows: Iterator[tuple[int, ConversationRow]], share: float, config: RunConfig, lvlm: FinetunableModel
) -> Iterator[TokenChoice]:
    opener = make_opener(config)
    for place, conversation in map_ahead(lambda one: (one[0], to_conversation(one[1], lvlm, opener)), rows):
        with lvlm.batch():
            gains = lvlm.measure_gains(conversation)
        yield TokenChoice(place, len(gains), skip_tokens(gains, share))


def skip_tokens(gains: Sequence[float | None], share: float) -> tuple[int, ...]:
    """Numbers of the tokens that are not taught: all but the share, rounded up, with the highest gains.

    Args:
        gains: Of each token log p - log q, nats; None for one that is taught in any case and belongs to no share.
        share: Above 0, at most 1. Of equal gains the earlier counts as the higher.
    """
    measured = [(-gain, number) for number, gain in enumerate(gains) if gain is not None]
    kept = math.ceil(round(share * len(measured), 9))  # 0.07 * 100 is 7.000000000000001
    return tuple(sorted(number for _, number in sorted(measured)[kept:]))


def count_tokens(choices: Choices) -> dict[str, Any]:
    """For the summary: how many tokens are taught, of how many; nothing where nothing was chosen."""
    if not choices:
        return {}
    tokens = sum(one.tokens for one in choices.values())
    return {"tokens": {"taught": tokens - sum(len(one.skipped) for one in choices.values()), "of": tokens}}


def tell_tokens(tokens: Mapping[str, int]) -> str:
    """A line about what ``count_tokens`` counted."""
    return (
        f"{tokens['taught']} of {tokens['of']} tokens of the answers were taught: what an image makes likeliest, the "
        "ends of turns, and all of rows without an image"
    )
