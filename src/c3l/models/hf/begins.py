"""The token that begins a text: written by the chat template, or put there by the tokenizer, but never twice."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, ProcessorMixin


class Begins:
    """Knows which tokens begin a text, and who puts them there."""

    def __init__(self, processor: "ProcessorMixin", tokenizer: "PreTrainedTokenizerBase") -> None:
        """See what the tokenizer puts before a text, whatever it is called.

        Args:
            processor: It may ask its tokenizer for no such token.
            tokenizer: The tokenizer.
        """
        plain, whole = (tokenizer("A", add_special_tokens=add)["input_ids"] for add in (False, True))
        starts = [n for n in range(len(whole) - len(plain) + 1) if whole[n : n + len(plain)] == plain]
        added = tokenizer.convert_ids_to_tokens(whole[: starts[0]]) if starts else []
        self._tokens = tuple(str(token) for token in (tokenizer.bos_token, *added[:1]) if token)
        given = getattr(getattr(processor, "valid_processor_kwargs", None), "_defaults", {}).get("text_kwargs", {})
        own = getattr(processor, "text_kwargs", None) or {}
        self._adds = bool({**given, **own}.get("add_special_tokens", True))

    def adds_to(self, text: str) -> bool:
        """Whether the tokenizer is to begin a chat as the template writes it."""
        return self._adds and not text.startswith(self._tokens)

    def options(self, text: str) -> dict[str, Any]:
        """What the processor is told of that, as in transformers' own chats: nothing where it is its own affair."""
        return {"add_special_tokens": False} if text.startswith(self._tokens) else {}
