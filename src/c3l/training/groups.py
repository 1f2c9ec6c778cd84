"""Contrastive groups become batches: each pair as the reply that its instruction asks for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch.utils.data import Dataset

from c3l.method.batching import map_ahead
from c3l.method.prompts import InstructionTemplate
from c3l.models.tunable import ForcedRow, TrainableModel
from c3l.records import ContrastiveGroup, ImageRef, Rejected, Sample, make_id


@dataclass(frozen=True, slots=True)
class TextGroup:
    """One image with what is forced after one prompt about it; the positive stands first."""

    image: ImageRef
    prompt: str
    completions: tuple[str, ...]


def write_groups(
    groups: Sequence[ContrastiveGroup],
    samples: Mapping[str, Sample],
    images: Mapping[str, ImageRef],
    templates: Mapping[str, InstructionTemplate],
    pairs_per_image: int,
) -> list[TextGroup]:
    """The texts of the groups, in their order.

    The prompt is the one that the positive was written for, whole: "write K pairs". The completion is one pair in
    the form that its parser reads first, with no end: the LVLM is taught which pair to begin with, not to stop
    after it.
    """
    out = []
    for group in groups:
        template = templates[samples[group.positive].instruction_id]
        pairs = [samples[sample_id] for sample_id in (group.positive, *group.negatives)]
        texts = tuple(template.write_reply([(pair.question, pair.answer)], more=True) for pair in pairs)
        out.append(TextGroup(images[group.image_id], template.render(pairs_per_image), texts))
    return out


def sort_out(
    model: TrainableModel, groups: Sequence[TextGroup], open_image: Callable[[ImageRef], Image]
) -> tuple[list[TextGroup], list[Rejected]]:
    """Groups that the model can be shown, and the others with the reason of their first text that it cannot."""

    def open_rows(group: TextGroup) -> tuple[TextGroup, list[ForcedRow]]:
        image = open_image(group.image)
        model.prepare(image)
        return group, [ForcedRow(image, group.prompt, text) for text in group.completions]

    fit: list[TextGroup] = []
    rejected: list[Rejected] = []
    for group, rows in map_ahead(open_rows, groups):
        fault = model.find_fault(rows)
        if fault is None:
            fit.append(group)
        else:
            name = group.image.image_id
            rejected.append(Rejected(name, name, "tuning", fault.reason, f"{group.image.path}: {fault.detail}"))
    return fit, rejected


def hold_out(groups: Sequence[TextGroup], share: float, seed: int) -> tuple[list[TextGroup], list[TextGroup]]:
    """Groups to train on, and groups that only measure, both in their order; a hash of the image's id decides."""
    ordered = sorted(groups, key=lambda group: make_id("held out", seed, group.image.image_id))
    held = {group.image.image_id for group in ordered[: count_held_out(len(ordered), share)]}
    return (
        [group for group in groups if group.image.image_id not in held],
        [group for group in groups if group.image.image_id in held],
    )


def count_held_out(groups: int, share: float) -> int:
    """How many of so many groups only measure: that share, at least one of five or more, never all."""
    count = max(min(round(share * groups), groups - 1), 0)
    return max(count, 1) if share > 0 and groups >= 5 else count


class GroupDataset(Dataset[TextGroup]):
    """Groups by number, as ``Trainer`` draws them."""

    def __init__(self, groups: Sequence[TextGroup]) -> None:
        self._groups = groups

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, place: int) -> TextGroup:
        return self._groups[place]


class GroupCollator:
    """Opens the images of some groups and makes one batch of all their rows."""

    def __init__(self, model: TrainableModel, open_image: Callable[[ImageRef], Image]) -> None:
        self._model, self._open_image = model, open_image

    def __call__(self, groups: Sequence[TextGroup]) -> dict[str, Any]:
        """The model's own batch of all rows, and where each group's candidates stand in it.

        Returns:
            ``rows``: a batch of ``TrainableModel.collate``; ``candidates``: (G, C) int64, row numbers, the positive
            first; ``valid``: (G, C) bool, False where a group has fewer candidates.
        """
        rows: list[ForcedRow] = []
        places: list[range] = []
        for group in groups:
            image = self._open_image(group.image)
            places.append(range(len(rows), len(rows) + len(group.completions)))
            rows += [ForcedRow(image, group.prompt, text) for text in group.completions]
        width = max(map(len, places))
        return {
            "rows": self._model.collate(rows),
            "candidates": torch.tensor([[*mine, *[mine[0]] * (width - len(mine))] for mine in places]),
            "valid": torch.tensor([[place < len(mine) for place in range(width)] for mine in places]),
        }
