"""Teacher forcing: the logits that predict given completions, each row as if it stood alone.

Rows of one request are packed into a tree (``packing``), so that what they begin with, the picture above all, is
computed once. A family whose layers do not allow that computes every row whole, and says so.
"""

import inspect
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from c3l.errors import BackendError
from c3l.models.encoding import ChatEncoder, EncodedPrompt, ScoredRow
from c3l.models.layout import attention_mask, find_obstacle, image_token_id, make_path
from c3l.models.logits import log_probs, tell_apart
from c3l.models.packing import Packed, pack
from c3l.models.rows import GREY, Row
from c3l.models.vision import PictureFeatures, VisionEncoder, move

logger = logging.getLogger(__name__)


class TeacherForcing:
    """Feeds rows to a model and keeps the logits of their completions."""

    def __init__(self, model: Any, encoder: ChatEncoder, vision: VisionEncoder) -> None:
        self._model, self._encoder, self._vision = model, encoder, vision
        self._takes_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._packs: bool | None = None  # unknown until somebody asks

    def predict(
        self, lists: Sequence[Sequence[Row]], features: dict[int, PictureFeatures] | None = None
    ) -> Iterator[Tensor]:
        """For each list the logits (A, V) that predict its completions, row after row.

        Args:
            lists: Rows; within a list all have a picture or none has, and all hide it or none does. Rows of the same
                request share what they begin with, across lists.
            features: Of pictures, by the id of the picture; what is missing is encoded and added.
        """
        features = {} if features is None else features
        if not self.packs() or any(row.hide_image for rows in lists for row in rows):
            yield from (self.predict_apart(rows, features) for rows in lists)
        elif len(lists) <= 2:
            yield from self._predict_packed(lists, features)
        else:  # many views of the same rows: one after the other, or their logits would fill the memory
            for rows in lists:
                yield from self._predict_packed([rows], features)

    def predict_apart(self, rows: Sequence[Row], features: dict[int, PictureFeatures]) -> Tensor:
        """Logits (A, V) of rows that are computed whole."""
        prompts = [self._encoder.encode_prompt(row.prompt, row.image, row.system) for row in rows]
        batch = self._encoder.collate(
            [ScoredRow(prompt, row.completion) for prompt, row in zip(prompts, rows, strict=True)]
        )
        inputs: dict[str, Any] = {key: value.to(self._model.device) for key, value in batch.text.items()}
        if rows[0].hide_image:
            inputs["attention_mask"] = self._hide_image(inputs)
        inputs |= self._show_pictures(rows, prompts, features)
        keep = batch.completion_mask.to(self._model.device)
        if not self._takes_logits_to_keep:
            everywhere: Tensor = self._model(**inputs, use_cache=False).logits
            return everywhere[keep]
        # the mask stays boolean: as integers it would be read as positions
        kept: Tensor = self._model(**inputs, use_cache=False, logits_to_keep=keep).logits
        return kept.reshape(-1, kept.shape[-1])

    def packs(self) -> bool:
        """Whether packed rows give this model's own numbers; tried out once."""
        if self._packs is None:
            self._packs = self._find_out()
        return self._packs

    def _find_out(self) -> bool:
        obstacle = "" if self._vision.can_share and self._takes_logits_to_keep else "it takes no ready image features"
        picture = Image.new("RGB", (96, 64), GREY)  # wider than high: positions may follow the picture's grid
        obstacle = obstacle or find_obstacle(self._model, self._encoder.encode_prompt("Is it?", picture))
        obstacle = obstacle or self._try_out(picture)
        if obstacle:
            logger.warning(
                "%s cannot share the beginning of rows, since %s: every pair is computed whole, more slowly",
                type(self._model).__name__,
                obstacle,
            )
        return not obstacle

    @torch.no_grad()
    def _try_out(self, picture: Image.Image) -> str:
        """Packed rows against whole ones: two that share a picture, one of another request, the same without any."""
        ids = self._encoder.encode_completion("yes, it is") or (0,)
        other = Image.new("RGB", (64, 64), GREY)
        asked = [(picture, "Is it?", 0), (picture, "Is it so?", 0), (other, "Is it?", 1)]
        shown = [Row(image, prompt, ids, request) for image, prompt, request in asked]
        lists = [shown, [replace(row, image=None) for row in shown]]
        if not self._has_chats_without_picture():
            lists = lists[:1]
        features: dict[int, PictureFeatures] = {}
        apart = [self.predict_apart(rows, features) for rows in lists]
        try:
            packed = list(self._predict_packed(lists, features))
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # whatever a family trips over: whole rows are computed as it wants them
            return f"packed rows end with {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        pairs = ((log_probs(one), log_probs(two)) for one, two in zip(packed, apart, strict=True))
        gap = tell_apart(pairs, self._model.dtype)
        return f"packed rows are off by {gap}" if gap else ""

    def _has_chats_without_picture(self) -> bool:
        try:
            self._encoder.encode_prompt("Is it?", None)
        except Exception:  # a template of some family's own; where such a chat is needed, its error is told
            return False
        return True

    def _predict_packed(self, lists: Sequence[Sequence[Row]], features: dict[int, PictureFeatures]) -> Iterator[Tensor]:
        rows = [row for of_list in lists for row in of_list]
        prompts = [self._encoder.encode_prompt(row.prompt, row.image, row.system) for row in rows]
        self._encode_pictures(rows, prompts, features)
        paths = [
            make_path(self._model, prompt, prompt.ids + row.completion[:-1], id(row.image))
            for row, prompt in zip(rows, prompts, strict=True)
        ]
        found: dict[int, Tensor] = {}
        token = image_token_id(self._model)
        for packed, numbers in pack(paths, [row.request for row in rows], token, self._encoder.pad_id):
            starts = [len(prompts[number].ids) - 1 for number in numbers]
            found |= dict(zip(numbers, self._forward_packed(packed, starts, features), strict=True))
        done = 0
        for of_list in lists:
            yield torch.cat([found[done + place] for place in range(len(of_list))])
            done += len(of_list)

    def _forward_packed(
        self, packed: Packed, starts: Sequence[int], features: Mapping[int, PictureFeatures]
    ) -> Iterator[Tensor]:
        """The logits (N, V) of each packed row; a token that several rows predict from goes through the head once."""
        keep = torch.zeros(packed.ids.shape, dtype=torch.bool)
        wanted = [(tree, path[start:]) for (tree, path), start in zip(packed.rows, starts, strict=True)]
        for tree, places in wanted:
            keep[tree, list(places)] = True
        shown = self._vision.join([features[number] for number in packed.pictures]) if packed.pictures else {}
        kept = self._model(
            input_ids=packed.ids.to(self._model.device),
            position_ids=packed.positions.to(self._model.device),
            attention_mask=attention_mask(packed.mask, packed.depths, self._model),
            logits_to_keep=keep.to(self._model.device),
            use_cache=False,
            **shown,
        ).logits
        kept = kept.reshape(-1, kept.shape[-1])
        rank = (keep.flatten().cumsum(0) - 1).view(keep.shape)
        return (kept[rank[tree, list(places)].to(kept.device)] for tree, places in wanted)

    def _show_pictures(
        self, rows: Sequence[Row], prompts: Sequence[EncodedPrompt], features: dict[int, PictureFeatures]
    ) -> dict[str, Any]:
        images = [row.image for row in rows if row.image is not None]
        if not images:
            return {}
        if not self._vision.can_share:
            tensors = self._encoder.process_pictures([row.prompt for row in rows], images)
            return {key: move(value, self._model) for key, value in tensors.items()}
        self._encode_pictures(rows, prompts, features)
        return self._vision.join([features[id(image)] for image in images])

    def _encode_pictures(
        self, rows: Sequence[Row], prompts: Sequence[EncodedPrompt], features: dict[int, PictureFeatures]
    ) -> None:
        for row, prompt in zip(rows, prompts, strict=True):
            if row.image is not None and id(row.image) not in features:
                features[id(row.image)] = self._vision.encode(prompt.vision)

    def _hide_image(self, inputs: dict[str, Tensor]) -> Tensor:
        token = image_token_id(self._model)
        assert token is not None, "without an image token the mode is not offered"
        is_image = inputs["input_ids"].eq(token)
        if bool(is_image[:, 0].any()):  # a query that may look at nothing is not a number
            raise BackendError(
                "no_image=mask needs a token before the image, and this chat template begins with the image: "
                "set scoring.no_image=drop"
            )
        return inputs["attention_mask"].masked_fill(is_image, 0)
