"""Writing: prompts about images become completions, a batch at a time, by transformers' own ``generate``.

What prompts begin with, the image above all, is computed once for all of them, and rows that have ended leave the
batch, where the family allows that (as in ``forcing``); else every prompt is computed whole, and every row as long as
the longest; and where rows change each other, one prompt after the other.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, GenerationMixin, LogitsProcessor, LogitsProcessorList

from c3l.models.hf.cache import make_growing
from c3l.models.hf.dictating import ALL_WAYS, WritingWays, find_ways
from c3l.models.hf.encoded import EncodedPrompt
from c3l.models.hf.encoding import ChatEncoder, stop_ids
from c3l.models.hf.features import ImageFeatures
from c3l.models.hf.forcing import TeacherForcing
from c3l.models.hf.layout import image_token_id, keep_offsets, make_paths, reading_packed, set_offsets
from c3l.models.hf.packing import pack
from c3l.models.hf.remembered import Remembered
from c3l.models.hf.sampling import FiniteGuard, SeededSampler, Text
from c3l.models.hf.vision import VisionEncoder, move
from c3l.models.interface import Completion, GenerateRequest, Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LEG = 32  # tokens until rows that have ended leave; choice


class Writing:
    """Lets a model write."""

    def __init__(
        self, model: "PreTrainedModel", encoder: ChatEncoder, vision: VisionEncoder, forcing: TeacherForcing
    ) -> None:
        self._model, self._encoder, self._vision, self._forcing = model, encoder, vision, forcing
        self.stop_ids = stop_ids(model, encoder)
        # Janus' own, for one, does not hand on what draws the tokens
        self._generate: Callable[..., Tensor] = partial(GenerationMixin.generate, model)
        self._ways: WritingWays | None = None  # unknown until somebody asks
        self._kept: Remembered | None = None

    def write(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
        """One completion a request, in order; all requests have an image, or none has."""
        ways = self.ways()
        if ways.side_by_side or (ways.shared and requests[0].image is not None):
            return self._write(requests, sampling, ways)
        return [completion for request in requests for completion in self._write([request], sampling, ways)]

    def _write(self, requests: Sequence[GenerateRequest], sampling: Sampling, ways: WritingWays) -> list[Completion]:
        texts = [Text(request) for request in requests]
        sampler = SeededSampler(sampling, [request.seed for request in requests]) if sampling.temperature > 0 else None
        inputs, rows, left = self.begin(requests, ways), texts, sampling.max_new_tokens
        while rows and left:
            leg = min(left, LEG) if "past_key_values" in inputs else left
            sequences = self.go_on(inputs, rows, sampler, leg)
            left -= leg
            staying = [place for place, text in enumerate(rows) if not self._has_ended(text)]
            rows = [rows[place] for place in staying]
            if rows and left:
                inputs = self.keep(inputs, sequences, staying)
                if sampler:
                    sampler.keep(staying)
        return [self._complete(text) for text in texts]

    def ways(self) -> WritingWays:
        """What writes as the model does by itself; tried out once.

        Raises:
            BackendError: If it cannot write at all.
        """
        if self._ways is None:
            self._ways = self._recall() or self._find_out()
        return self._ways

    def keep_at(self, kept: Remembered) -> None:
        """Take it as known that every way writes as the model does by itself, where that was found before."""
        self._kept = kept

    def _recall(self) -> WritingWays | None:
        known = self._kept is not None and self._kept.read() is not None and self._forcing.allowed_alike is not None
        return ALL_WAYS if known else None

    def _find_out(self) -> WritingWays:
        ways = find_ways(self, self._model, self._encoder, self._forcing, self.stop_ids)
        allowed = self._forcing.allowed_alike
        if self._kept is not None and ways == ALL_WAYS and allowed is not None:
            self._kept.write(allowed)
        return ways

    def use_own_generate(self) -> None:
        """Write by the family's own ``generate`` in place of transformers' general one."""
        self._generate = self._model.generate

    def begin(self, requests: Sequence[GenerateRequest], ways: WritingWays) -> dict[str, Any]:
        """Left-padded prompts with what shows their images; requests with the same image object may share it."""
        prompts = [request.prompt for request in requests]
        images = [request.image for request in requests if request.image is not None]
        if images and not self._vision.can_begin:
            tensors = self._encoder.encode_for_generation(prompts, images)
            return {key: move(value, self._model) for key, value in tensors.items()}
        encoded = [self._encoder.encode_prompt(request.prompt, request.image, to_write=True) for request in requests]
        inputs: dict[str, Any] = {
            key: value.to(self._model.device) for key, value in self._encoder.collate_prompts(encoded).items()
        }
        visions = {id(image): prompt.vision for image, prompt in zip(images, encoded if images else (), strict=True)}
        features = dict(zip(visions, self._vision.encode_all(list(visions.values())), strict=True))
        if ways.shared and (cache := make_growing(self._model)) is not None:
            inputs["past_key_values"] = cache
            if images and (len(features) < len(images) or not ways.side_by_side):
                self._read_trees(encoded, [id(image) for image in images], features, cache)
                return inputs
        return inputs | (self._vision.join([features[id(image)] for image in images]) if images else {})

    def go_on(self, inputs: dict[str, Any], rows: Sequence[Text], sampler: LogitsProcessor | None, leg: int) -> Tensor:
        """Write at most so many tokens more into the rows; the batch's token ids, (R, T)."""
        guard = FiniteGuard(min(self.stop_ids, default=self._encoder.pad_id))
        with self._own_settings(leg):
            sequences: Tensor = self._generate(
                **inputs, logits_processor=LogitsProcessorList([guard, *([sampler] if sampler else [])])
            )
        width = inputs["input_ids"].shape[1]
        for place, (text, tokens) in enumerate(zip(rows, sequences[:, width:].tolist(), strict=True)):
            if place in guard.ended:
                text.broken = len(text.ids) + guard.ended[place] - width
            text.ids.extend(tokens)
        return sequences

    def _read_trees(
        self,
        prompts: Sequence[EncodedPrompt],
        images: Sequence[int],
        features: dict[int, ImageFeatures],
        cache: DynamicCache,
    ) -> None:
        """Read all prompts but for their last tokens into the cache; those about one image as one tree."""
        paths = make_paths(self._model, prompts, [prompt.ids[:-1] for prompt in prompts], images)
        token, pad = image_token_id(self._model), self._encoder.pad_id
        [(packed, numbers)] = pack(paths, images, token, pad, split=False)
        trees = DynamicCache()  # without the config: with it, sliding layers would forget
        with reading_packed(self._model, packed.sight) as mask:
            self._model(
                input_ids=packed.ids.to(self._model.device),
                position_ids=packed.positions.to(self._model.device),
                attention_mask=mask,
                logits_to_keep=1,
                past_key_values=trees,
                use_cache=True,
                **self._vision.join([features[image] for image in packed.images]),
            )
        # each row's keys and values are taken out of its tree, to the right end of the row
        #   tree    <image> Is it ? Where is           row 0    . . 0 1 2 3
        #           0       1  2  3 4     5            row 1    . . . 0 4 5
        width = max(len(path.ids) for path in paths)
        places = torch.zeros(len(paths), width, dtype=torch.int64)  # (R, T); the padding left of it is not looked at
        for number, (tree, path) in zip(numbers, packed.rows, strict=True):
            places[number, width - len(path) :] = torch.tensor(path) + tree * packed.ids.shape[1]
        places = places.to(self._model.device)
        set_offsets(self._model, paths)
        for source, target in zip(trees.layers, cache.layers, strict=True):
            # (B, H, T, D) -> (B * T, H, D) -> (R, T, H, D) -> (R, H, T, D)
            both = (held.transpose(1, 2).flatten(0, 1)[places].transpose(1, 2) for held in (source.keys, source.values))
            target.hold(*both)

    def _has_ended(self, text: Text) -> bool:
        return text.broken is not None or not self.stop_ids.isdisjoint(text.ids)

    def _complete(self, text: Text) -> Completion:
        """The text up to its stop token, or to where the logits broke; after the stop token nothing matters."""
        name, ids, broken = text.request.request_id, text.ids, text.broken
        end = next((place for place, token in enumerate(ids) if token in self.stop_ids), None)
        if broken is not None and (end is None or broken <= end):
            return Completion(name, self._encoder.decode_completion(ids[:broken]), "non_finite_logits")
        return Completion(name, self._encoder.decode_completion(ids[:end]), "length" if end is None else "stop")

    def keep(self, inputs: dict[str, Any], sequences: Tensor, rows: Sequence[int]) -> dict[str, Any]:
        """What ``generate`` goes on from, for these rows: all but the last token of each is in the cache."""
        before, places = inputs["attention_mask"], torch.tensor(rows, device=sequences.device)
        written = sequences.shape[1] - before.shape[1]
        mask = torch.nn.functional.pad(before, (0, written), value=1).index_select(0, places)  # (rows, T)
        unused = int(mask.cumsum(dim=1).eq(0).all(dim=0).sum())  # columns that are padding in all rows
        if unused or len(rows) < len(sequences):
            for layer in inputs["past_key_values"].layers:
                layer.select(places, unused)
            keep_offsets(self._model, places)
        return {
            "input_ids": sequences.index_select(0, places)[:, unused:],
            "attention_mask": mask[:, unused:],
            "past_key_values": inputs["past_key_values"],
        }

    @contextmanager
    def _own_settings(self, tokens: int) -> Iterator[None]:
        # A folder's generation_config.json may ask for top_k or a repetition penalty; `Sampling` does not.
        before = self._model.generation_config
        self._model.generation_config = GenerationConfig(
            max_new_tokens=tokens,
            do_sample=False,  # SeededSampler draws, and leaves one token possible
            eos_token_id=sorted(self.stop_ids),
            pad_token_id=self._encoder.pad_id,
        )
        try:
            yield
        finally:
            self._model.generation_config = before
