"""Which rows of data files an LVLM can be taught: every row, as it is taught or with a reason."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from c3l.data.formats import ConversationRow, read_conversations
from c3l.data.images import image_id_of, open_image
from c3l.data.sources import name_files
from c3l.errors import BadImageError
from c3l.method.batching import map_ahead
from c3l.models.tunable import Conversation, FinetunableModel
from c3l.records import Rejected
from c3l.settings.schema import RunConfig

if TYPE_CHECKING:
    from PIL.Image import Image

    from c3l.training.finetuning import TextConversation


def read_learnable(
    data: Sequence[Path], config: RunConfig, lvlm: FinetunableModel, advance: Callable[[int], None]
) -> tuple[dict[int, ConversationRow], list[Rejected]]:
    """Every row, as something that can be learned, by its place among all rows, or as a rejection."""
    learned: dict[int, ConversationRow] = {}
    rejected: list[Rejected] = []
    opener = make_opener(config)
    opened = map_ahead(lambda row: _open(row, lvlm, opener), iterate_rows(data, config))
    for place, found in enumerate(opened):
        outcome = found if isinstance(found, Rejected) else _judge(*found, lvlm)
        if isinstance(outcome, Rejected):
            rejected.append(outcome)
        else:
            learned[place] = outcome
        advance(1)
    return learned, rejected


def _open(
    row: ConversationRow | Rejected, lvlm: FinetunableModel, opener: "Callable[[str], Image]"
) -> tuple[ConversationRow, Conversation] | Rejected:
    """The row beside what the model sees of it, or why there is nothing to see."""
    if isinstance(row, Rejected):
        return row
    try:
        return row, to_conversation(row, lvlm, opener)
    except BadImageError as error:
        return _reject(row, error.reason, error.detail)


def _judge(row: ConversationRow, conversation: Conversation, lvlm: FinetunableModel) -> ConversationRow | Rejected:
    """The row if it can be learned, else why not."""
    with lvlm.batch():
        if fault := lvlm.find_fault(conversation):
            return _reject(row, fault.reason, fault.detail)
        _, lost = lvlm.count_taught(conversation)
    return mark_cut(row, cut=lost > 0)


def _reject(row: ConversationRow, reason: str, detail: str) -> Rejected:
    return Rejected(row.id, image_id_of(row.image) if row.image else "", "finetuning", reason, detail)


def to_conversation(row: ConversationRow, lvlm: FinetunableModel, opener: "Callable[[str], Image]") -> Conversation:
    """The row as the model sees it, with all of its answers that its data wants taught; its image is prepared.

    Raises:
        BadImageError: If its image cannot be used.
    """
    picture = opener(row.image) if row.image else None
    if picture is not None:
        lvlm.prepare(picture)
    return Conversation(picture, row.turns, _system(row, lvlm), row.untaught)


def iterate_rows(data: Sequence[Path], config: RunConfig) -> Iterator[ConversationRow | Rejected]:
    """The rows of all files, one file after the other."""
    files = zip(data, name_files(data), strict=True)
    unpack, columns = config.images.unpack_root, config.columns.named
    return chain.from_iterable(read_conversations(path, name, unpack, columns) for path, name in files)


def mark_cut(row: ConversationRow, *, cut: bool) -> ConversationRow:
    """The row, noted as cut off if it is."""
    return replace(row, noted=(*row.noted, "cut")) if cut else row


def _system(row: ConversationRow, lvlm: FinetunableModel) -> str:
    """The system prompt as far as the model can be shown it."""
    return row.system if row.system and lvlm.takes_system else ""


def note_unused(rows: Sequence[ConversationRow], lvlm: FinetunableModel) -> Iterator[str]:
    """Words for what is taught otherwise than its row asks for."""
    for row in rows:
        yield from row.noted
        if row.system and not _system(row, lvlm):
            yield "without_system"


def to_texts(
    rows: Mapping[int, ConversationRow], lvlm: FinetunableModel, skipped: Mapping[int, Sequence[int]]
) -> "list[TextConversation]":
    """The rows as they are taught; ``skipped`` has the numbers of the tokens that are not, by the rows' places."""
    from c3l.training.finetuning import TextConversation

    return [
        TextConversation(row.image, row.turns, _system(row, lvlm), row.untaught, frozenset(skipped.get(place, ())))
        for place, row in rows.items()
    ]


def make_opener(config: RunConfig) -> "Callable[[str], Image]":
    """What opens the image of a path."""
    return lambda image: open_image(config.images.root, image, config.images)
