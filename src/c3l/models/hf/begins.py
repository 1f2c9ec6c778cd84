"""The token that begins a text: written by the chat template, or put there by the tokenizer, but never twice.

What a tokenizer puts behind a text, as one that was saved by a training with ``add_eos_token`` does, would stand
between a prompt and its answer. It is left out.
"""

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from tokenizers.processors import TemplateProcessing

from c3l.errors import BackendError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, ProcessorMixin


class Begins:
    """Knows which tokens begin a text, and who puts them there."""

    def __init__(self, processor: "ProcessorMixin", tokenizer: "PreTrainedTokenizerBase") -> None:
        """See what the tokenizer puts around a text, whatever it is called.

        Args:
            processor: It may ask its tokenizer for no such token.
            tokenizer: The tokenizer.
        """
        plain, whole = (tokenizer("A", add_special_tokens=add)["input_ids"] for add in (False, True))
        starts = [n for n in range(len(whole) - len(plain) + 1) if whole[n : n + len(plain)] == plain]
        first, last = (starts[0], starts[0] + len(plain)) if starts else (0, len(whole))
        tokens = [str(token) for token in tokenizer.convert_ids_to_tokens(whole)]
        self._before = list(zip(tokens[:first], whole[:first], strict=True))
        self._behind = "".join(tokens[last:])
        self._tokens = tuple(str(token) for token in (tokenizer.bos_token, *tokens[: min(first, 1)]) if token)
        given = getattr(getattr(processor, "valid_processor_kwargs", None), "_defaults", {}).get("text_kwargs", {})
        own = getattr(processor, "text_kwargs", None) or {}
        self._adds = bool({**given, **own}.get("add_special_tokens", True))

    def adds_to(self, text: str) -> bool:
        """Whether the tokenizer is to begin a chat as the template writes it."""
        return self._adds and not text.startswith(self._tokens)

    def options(self, text: str) -> dict[str, Any]:
        """What the processor is told of that, as in transformers' own chats: nothing where it is its own affair."""
        return {"add_special_tokens": False} if text.startswith(self._tokens) else {}

    def tell_end(self, text: str) -> str:
        """One line for a person where the tokenizer, as it begins this chat, would also end it; else empty."""
        if not self._behind or not self.adds_to(text):
            return ""
        return f"the tokenizer puts {self._behind!r} behind every text, which is left out of prompts"

    def without_end(self, tokenizer: Any) -> Any:
        """A copy of the tokenizer that begins a text as it does, and puts nothing behind it.

        Raises:
            BackendError: If it is none of those that can be told to.
        """
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise BackendError(
                f"{type(tokenizer).__name__} puts {self._behind!r} behind every text, expected nothing between a "
                "prompt and its answer: set add_eos_token to false in tokenizer_config.json"
            )
        tokenizer = deepcopy(tokenizer)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=[*(token for token, _ in self._before), "$A"], special_tokens=self._before
        )
        return tokenizer
