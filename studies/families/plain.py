"""The plain loop: one row, one forward by transformers alone, and the logits at all places."""

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from c3l.models.interface import Shown

# what goes on after a prompt: its last value, but for masks and types of plain text
_AFTER = {"attention_mask": 1, "token_type_ids": 0, "mm_token_type_ids": 0, "moe_mm_token_type_ids": 0}
_PREFIXES = {"paligemma": 1}  # reads a prompt as a whole (0) and what follows it word by word (1)


@dataclass(frozen=True, slots=True)
class Plain:
    """A model and its processor, called as their documentation says."""

    model: Any
    processor: Any

    def answer_ids(self, answer: str) -> list[int]:
        """The ids of an answer by itself."""
        ids: list[int] = self.processor.tokenizer(answer, add_special_tokens=False)["input_ids"]
        return ids

    @torch.no_grad()
    def log_probs(self, image: Shown | None, prompt: str, ids: list[int], *, hide: bool = False) -> Tensor:
        """Log-probabilities (N, V) at the places that predict these ids after the prompt.

        Args:
            image: Shown before the prompt, or several in their order, or None.
            prompt: What is asked.
            ids: N of them.
            hide: The picture's tokens are there and must not be looked at.
        """
        inputs = self._encode(image, prompt)
        start = inputs["input_ids"].shape[1] - 1
        inputs = self._go_on(inputs, ids)
        if hide:
            places = torch.arange(inputs["input_ids"].shape[1])[None]
            inputs["attention_mask"][inputs["input_ids"] == self.model.config.image_token_id] = 0
            inputs["position_ids"] = places
        table: Tensor = self.model(**inputs).logits[0].log_softmax(-1)
        return table[start : start + len(ids)]

    @torch.no_grad()
    def write(self, image: Image.Image | None, prompt: str, tokens: int, stops: set[int]) -> list[int]:
        """The likeliest ids after a prompt, each from a forward over all that stands before it.

        It ends before a stop, and before a token that stands for a picture: no forward takes one without a picture.
        """
        ids: list[int] = []
        inputs = self._encode(image, prompt)
        ends = stops | set(self.processor.tokenizer.added_tokens_decoder)
        while len(ids) < tokens:
            token = int(self.model(**self._go_on(inputs, ids)).logits[0, -1].argmax())
            if token in ends:
                break
            ids.append(token)
        return ids

    def _encode(self, image: Shown | None, prompt: str) -> dict[str, Tensor]:
        shown = [] if image is None else list(image) if isinstance(image, tuple) else [image]
        chat = [{"role": "user", "content": [*({"type": "image"} for _ in shown), {"type": "text", "text": prompt}]}]
        text = self.processor.apply_chat_template(chat, add_generation_prompt=True)
        pages = type(self.processor).__name__ == "GotOcr2Processor"  # reads a list in a list as pages
        images = None if not shown else shown if pages else [shown]
        inputs = self.processor(images=images, text=[text], add_special_tokens=False, return_tensors="pt")
        return {key: self._cast(value) for key, value in inputs.items() if torch.is_tensor(value) and key != "labels"}

    def _cast(self, value: Tensor) -> Tensor:
        return value.to(self.model.dtype) if value.is_floating_point() else value

    def _go_on(self, inputs: dict[str, Tensor], ids: list[int]) -> dict[str, Tensor]:
        """The inputs with these ids behind them."""
        out = dict(inputs)
        for key, value in inputs.items():
            after = None
            if key == "input_ids":
                after = torch.tensor([ids], dtype=value.dtype)
            elif key == "token_type_ids":
                after = torch.full((1, len(ids)), _PREFIXES.get(self.model.config.model_type, 0))
            elif key in _AFTER:
                after = torch.full((1, len(ids)), _AFTER[key])
            elif key == "cross_attention_mask":
                after = value[:, -1:].expand(-1, len(ids), -1, -1)
            if after is not None:
                out[key] = torch.cat([value, after.to(value.dtype)], dim=1)
        return out
