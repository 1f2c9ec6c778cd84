"""What an image's placeholder becomes in a prompt, learned from one prompt about it and put into the next.

A processor writes hundreds of tokens in the place of one, and its tokenizer reads all of them again for every question
about the image, while a GPU waits (docs/speed.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import AddedToken


@dataclass(frozen=True, slots=True)
class Expansion:
    """The tokens in the place of a placeholder.

    Attributes:
        placeholder: Its id.
        ids: What stands for it.
        types: Of every kind of token types that the processor gives, those of ``ids``; all others are 0.
    """

    placeholder: int
    ids: tuple[int, ...]
    types: Mapping[str, tuple[int, ...]]

    def insert(self, plain: Sequence[int]) -> tuple[tuple[int, ...], dict[str, tuple[int, ...]]] | None:
        """Ids and token types of a prompt with one placeholder; None if it has not just one."""
        if plain.count(self.placeholder) != 1:
            return None
        place = plain.index(self.placeholder)
        before, after = tuple(plain[:place]), tuple(plain[place + 1 :])
        types = {key: (0,) * len(before) + own + (0,) * len(after) for key, own in self.types.items()}
        return before + self.ids + after, types


def learn_expansion(
    added_tokens: Mapping[int, "AddedToken"],
    placeholder: int | None,
    plain: Sequence[int],
    ids: Sequence[int],
    types: Mapping[str, Sequence[int]],
) -> Expansion | None:
    """What became of the placeholder, if the text around it cannot have changed it, nor it the text.

    Args:
        added_tokens: Those that a tokenizer adds to its vocabulary, by their ids; of ordinary text no other is cut out.
        placeholder: Id of the token that the chat template writes for an image.
        plain: The prompt with the placeholder.
        ids: The same prompt as the processor gives it.
        types: Its token types.

    Returns:
        None where this cannot be told: there is not just one placeholder, more than it differs, or what stands for it
        begins or ends with ordinary text, which could melt into the words beside it.
    """
    if placeholder is None or plain.count(placeholder) != 1:
        return None
    place = plain.index(placeholder)
    end = len(ids) - (len(plain) - place - 1)
    whole = Expansion(
        placeholder, tuple(ids[place:end]), {key: tuple(values[place:end]) for key, values in types.items()}
    )
    apart = {placeholder, *whole.ids[:1], *whole.ids[-1:]}
    if not whole.ids or any(not _stands_apart(added_tokens.get(token)) for token in apart):
        return None
    return whole if whole.insert(plain) == (tuple(ids), {key: tuple(values) for key, values in types.items()}) else None


def _stands_apart(added: "AddedToken | None") -> bool:
    """Whether a token is cut out of a text before it is read, without white space at its sides."""
    return added is not None and not added.lstrip and not added.rstrip and not added.single_word
