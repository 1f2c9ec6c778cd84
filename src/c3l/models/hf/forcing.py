"""Teacher forcing: the logits that predict given completions, each row as if it stood alone.

Rows of one request are packed into a tree (``packing``), so that what they begin with, the image above all, is
computed once. A family whose layers do not allow that computes every row whole; one whose numbers change with what
else is in the batch computes each by itself; and both say so.
"""

import inspect
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from c3l.errors import BackendError, name_error
from c3l.models.hf.along import ALONG_KEYS
from c3l.models.hf.conversations import ConversationEncoder
from c3l.models.hf.earlier import find_turns
from c3l.models.hf.encoded import EncodedPrompt, EncodedRow
from c3l.models.hf.encoding import ChatEncoder, stop_ids
from c3l.models.hf.features import ImageFeatures
from c3l.models.hf.image_sets import ImageSetEncoder
from c3l.models.hf.layout import find_obstacle, image_token_id, make_paths, reading_packed
from c3l.models.hf.logits import gather
from c3l.models.hf.packing import Packed, pack
from c3l.models.hf.remembered import Remembered
from c3l.models.hf.rounding import widened
from c3l.models.hf.rows import ForcingRow
from c3l.models.hf.several import SeveralImages, try_several
from c3l.models.hf.trials import Trial
from c3l.models.hf.vision import VisionEncoder, move

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ways:
    """Which ways of computing rows give a model's own numbers.

    Attributes:
        packed: Trees of rows that begin alike.
        side_by_side: Whole rows as one batch, padded to one length.
        allowed: Root of the mean square by which rounding may move log-probabilities, nats.
    """

    packed: bool
    side_by_side: bool
    allowed: float


class TeacherForcing:
    """Feeds rows to a model and keeps the logits of their completions."""

    def __init__(self, model: "PreTrainedModel", encoder: ChatEncoder, vision: VisionEncoder) -> None:
        self._model, self._encoder, self._vision = model, encoder, vision
        self.takes_logits_to_keep = "logits_to_keep" in inspect.signature(model.forward).parameters
        """Whether its forward computes logits at chosen places alone; known for certain once ``ways`` is."""
        self._ways: Ways | None = None  # unknown until somebody asks
        self._several: SeveralImages | None = None  # as above

    @cached_property
    def turns(self) -> ConversationEncoder | None:
        """What puts a prompt behind earlier turns; None where the chat template does not show every turn."""
        return find_turns(self._encoder, stop_ids(self._model, self._encoder))

    @cached_property
    def sets(self) -> ImageSetEncoder:
        """What puts several images into a prompt."""
        return ImageSetEncoder(self._encoder, self.turns)

    def encode(self, row: ForcingRow) -> EncodedPrompt:
        """What is said before a row's completion.

        Raises:
            BackendError: If something was said before its prompt, and the chat template shows no earlier turns.
        """
        if row.earlier and self.turns is None:
            raise BackendError(
                f"the chat template or processor of {type(self._model).__name__} does not show every turn of a "
                "conversation: set scoring.context=none"
            )
        if row.images is not None:
            return self.sets.encode_prompt(row.prompt, row.images, row.system, row.earlier)
        if not row.earlier or self.turns is None:
            return self._encoder.encode_prompt(row.prompt, row.image, row.system)
        return self.turns.encode_prompt(row.prompt, row.image, row.system, row.earlier)

    def predict(
        self, lists: Sequence[Sequence[ForcingRow]], features: dict[int, ImageFeatures] | None = None
    ) -> Iterator[Tensor]:
        """For each list the logits (A, V) that predict its completions, row after row.

        Args:
            lists: Rows; within a list all have an image or none has, and all hide it or none does. Rows of the same
                request share what they begin with, across lists.
            features: Of images, by the id of the image; what is missing is encoded and added.
        """
        features = {} if features is None else features
        every = [row for rows in lists for row in rows]
        packs = self.several().packed if any(row.images is not None for row in every) else self.packs()
        if not packs or any(row.hide_image for row in every):
            yield from (self.predict_apart(rows, features) for rows in lists)
        elif len(lists) <= 2:
            yield from self.predict_packed(lists, features)
        else:  # many views of the same rows: one after the other, or their logits would fill the memory
            for rows in lists:
                yield from self.predict_packed([rows], features)

    def encode_apart(self, rows: Iterable[ForcingRow], features: dict[int, ImageFeatures]) -> None:
        """Encode what rows show, each image by itself, and add it to the features.

        For images that other batches will show too: encoded beside others they would be rounded as that batch has it.
        """
        for row in rows:
            shares = self._vision.can_share and (row.images is None or self.several().packed)
            if shares and row.shown is not None and id(row.shown) not in features:
                self._encode_images([row], [self.encode(row)], features)

    def predict_apart(self, rows: Sequence[ForcingRow], features: dict[int, ImageFeatures]) -> Tensor:
        """Logits (A, V) of rows that are computed whole."""
        if len(rows) > 1 and (rows[0].images is not None or not self.ways().side_by_side):
            return torch.cat([self._predict_whole([row], features) for row in rows])
        return self._predict_whole(rows, features)

    def predict_alone(self, prompt: EncodedPrompt, completion: tuple[int, ...]) -> Tensor:
        """Logits (N, V) of one row, the plain way: nothing beside it, its image as the processor gives it."""
        return self._feed([EncodedRow(prompt, completion)], self._give_vision(prompt))

    def _give_vision(self, prompt: EncodedPrompt) -> dict[str, Any]:
        return {key: move(tensor, self._model) for key, tensor in prompt.vision.items() if key not in ALONG_KEYS}

    def _predict_whole(self, rows: Sequence[ForcingRow], features: dict[int, ImageFeatures]) -> Tensor:
        """Logits (A, V) of rows as one batch."""
        prompts = [self.encode(row) for row in rows]
        images = self._show_images(rows, prompts, features)
        scored = [EncodedRow(prompt, row.completion) for prompt, row in zip(prompts, rows, strict=True)]
        return self._feed(scored, images, hide_image=rows[0].hide_image)

    def _feed(self, rows: Sequence[EncodedRow], images: dict[str, Any], *, hide_image: bool = False) -> Tensor:
        batch = self._encoder.collate(rows)
        inputs: dict[str, Any] = {key: value.to(self._model.device) for key, value in batch.text.items()}
        if hide_image:
            inputs["attention_mask"] = self._hide_image(inputs)
        inputs |= images
        keep = batch.completion_mask.to(self._model.device)
        if self.takes_logits_to_keep:
            try:
                # the mask stays boolean: as integers it would be read as positions
                kept: Tensor = self._model(**inputs, use_cache=False, logits_to_keep=keep).logits
                return kept.reshape(-1, kept.shape[-1])  # (N, V), row after row
            except IndexError:  # Chameleon goes on with them as if there were one for each place
                self.takes_logits_to_keep = False
        everywhere: Tensor = self._model(**inputs, use_cache=False).logits
        return everywhere[keep]  # (R, T, V) -> (N, V)

    def packs(self) -> bool:
        """Whether packed rows give this model's own numbers."""
        return self.ways().packed

    def ways(self) -> Ways:
        """What gives this model's own numbers; tried out once."""
        if self._ways is None:
            self._ways = self._find_out()
        return self._ways

    def several(self) -> SeveralImages:
        """Whether several images are shown, and what gives this model's own numbers then; tried out once."""
        if self._several is None:
            self._several = try_several(self, self._model, self._encoder)
        return self._several

    @property
    def allowed_alike(self) -> float | None:
        """What ``recall`` reads again, nats, where every way gives this model's own numbers."""
        ways = self.ways()
        shown_fast = self._vision.can_share and self._vision.batches
        fast = ways.packed and ways.side_by_side and shown_fast and self.takes_logits_to_keep
        return ways.allowed if fast else None

    def recall(self, kept: Remembered) -> bool:
        """Take what was found before as known: that every way gives this model's own numbers; whether it was found."""
        allowed = kept.read()
        if allowed is None or not self._vision.can_share:
            return False
        self._ways = Ways(packed=True, side_by_side=True, allowed=allowed)
        self._vision.batches = True
        return True

    @torch.no_grad()
    def _find_out(self) -> Ways:
        if self._vision.can_share:
            self._vision.try_batches(self._encoder)
        else:
            self._vision.give_up("it takes no ready image features")
        apart, obstacle, allowed = self._search()
        if not (apart and obstacle):
            hidden = self._search_exactly()
            apart, obstacle = apart or hidden[0], obstacle or hidden[1]
        name = type(self._model).__name__
        if apart:
            logger.warning(
                "%s gives other numbers to whole rows in a batch, since %s: each of them is computed by itself",
                name,
                apart,
            )
        if obstacle:
            logger.warning(
                "%s cannot share the beginning of rows, since %s: every pair is computed whole, more slowly",
                name,
                obstacle,
            )
        return Ways(not obstacle, not apart, allowed)

    def _search_exactly(self) -> tuple[str, str]:
        """What 16 bits hide of it."""
        with widened(self._model) as exact:
            if not exact:
                return "", ""
            try:
                if self._vision.batches:
                    self._vision.try_batches(self._encoder)
                return self._search()[:2]
            except Exception:  # some kernels know 16 bits alone, and there may be room for the weights but not for rows
                return "", ""

    def _search(self) -> tuple[str, str, float]:
        """What speaks against whole rows in a batch, and against packed ones; what rounding explains, nats."""
        trial = Trial(self._model, self._encoder, self.predict_alone)
        apart = self._try_side_by_side(trial)
        obstacle = "" if self._vision.can_share else "its image features are not shared"
        if not self.takes_logits_to_keep:
            obstacle = "it computes logits at all places or none"
        row = trial.lists[0][0]
        obstacle = obstacle or find_obstacle(self._model, self._encoder.encode_prompt(row.prompt, row.image))
        obstacle = obstacle or self._try("packed rows", lambda: list(self.predict_packed(trial.lists, {})), trial)
        return apart, obstacle, trial.allowed

    def _try_side_by_side(self, trial: Trial) -> str:
        """What speaks against rows of different lengths and images as a batch; features are tried out first."""
        obstacle = self._try_whole(trial, (0, 2))
        if obstacle and self._vision.can_share and (why := self._try_whole(trial, (0,))):
            self._vision.give_up(why)
            obstacle = self._try_whole(trial, (0, 2))
        return obstacle

    def _try_whole(self, trial: Trial, places: Sequence[int]) -> str:
        predict = lambda: [self._predict_whole(rows, {}) for rows in trial.pick(places)]  # noqa: E731
        return self._try("rows", predict, trial, places)

    def _try(
        self, what: str, predict: Callable[[], list[Tensor]], trial: Trial, places: Sequence[int] = (0, 1, 2)
    ) -> str:
        """What speaks against a way of computing these rows; empty if nothing does."""
        try:
            found = predict()
        except (torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:  # whatever a family trips over: plain rows are computed as it wants them
            return f"{what} end with {name_error(error)}"
        gap = trial.compare_logits(found, places)
        return f"{what} are off by {gap}" if gap else ""

    def predict_packed(
        self, lists: Sequence[Sequence[ForcingRow]], features: dict[int, ImageFeatures]
    ) -> Iterator[Tensor]:
        """As ``predict``, in trees of rows that begin alike."""
        rows = [row for of_list in lists for row in of_list]
        prompts = [self.encode(row) for row in rows]
        self._encode_images(rows, prompts, features)
        fed = [prompt.ids + row.completion[:-1] for row, prompt in zip(rows, prompts, strict=True)]
        paths = make_paths(self._model, prompts, fed, [id(row.shown) for row in rows])
        found: dict[int, tuple[Tensor, Tensor]] = {}
        token = image_token_id(self._model)
        for packed, numbers in pack(paths, [row.request for row in rows], token, self._encoder.pad_id):
            starts = [len(prompts[number].ids) - 1 for number in numbers]
            found |= dict(zip(numbers, self._forward_packed(packed, starts, features), strict=True))
        done = 0
        for of_list in lists:
            yield gather([found.pop(done + place) for place in range(len(of_list))])
            done += len(of_list)

    def _forward_packed(
        self, packed: Packed, starts: Sequence[int], features: Mapping[int, ImageFeatures]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The logits of all packed rows, and of each row where its own (N,) are among them.

        A token that several rows predict from goes through the head once.
        """
        keep = torch.zeros(packed.ids.shape, dtype=torch.bool)  # (B, T)
        wanted = [(tree, path[start:]) for (tree, path), start in zip(packed.rows, starts, strict=True)]
        for tree, places in wanted:
            keep[tree, list(places)] = True
        shown = self._vision.join([features[number] for number in packed.images]) if packed.images else {}
        with reading_packed(self._model, packed.sight) as mask:
            kept = self._model(
                input_ids=packed.ids.to(self._model.device),
                position_ids=packed.positions.to(self._model.device),
                attention_mask=mask,
                logits_to_keep=keep.to(self._model.device),
                use_cache=False,
                **shown,
            ).logits
        kept = kept.reshape(-1, kept.shape[-1])  # (kept tokens, V), tree after tree
        rank = (keep.flatten().cumsum(0) - 1).view(keep.shape)  # (B, T), where a kept token's logits are
        return ((kept, rank[tree, list(places)]) for tree, places in wanted)

    def _show_images(
        self, rows: Sequence[ForcingRow], prompts: Sequence[EncodedPrompt], features: dict[int, ImageFeatures]
    ) -> dict[str, Any]:
        if rows[0].images is not None:  # by themselves, as the processor gives them
            return self._give_vision(prompts[0])
        images = [row.image for row in rows if row.image is not None]
        if not images:
            return {}
        if not self._vision.can_share:
            tensors = self._encoder.process_images([row.prompt for row in rows], images)
            return {key: move(value, self._model) for key, value in tensors.items()}
        self._encode_images(rows, prompts, features)
        return self._vision.join([features[id(image)] for image in images])

    def _encode_images(
        self, rows: Sequence[ForcingRow], prompts: Sequence[EncodedPrompt], features: dict[int, ImageFeatures]
    ) -> None:
        missing = {
            id(row.shown): prompt.vision
            for row, prompt in zip(rows, prompts, strict=True)
            if row.shown is not None and id(row.shown) not in features
        }
        features |= dict(zip(missing, self._vision.encode_all(list(missing.values())), strict=True))

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
