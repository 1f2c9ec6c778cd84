"""What a template writes before an answer, where an answer is read otherwise behind it than alone.

A tokenizer of SentencePiece's kind begins every text with a space. Behind "ASSISTANT:" one belongs there; on a line of
its own, or behind a token that ends the header, the model itself would write the answer without it. Other tokenizers
begin no text with a space, and where a template writes one behind "Assistant:" in a conversation, but not where an
answer is to come (SmolVLM's), the answer begins with it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Tokenise = Callable[[str], tuple[int, ...]]

_QUESTION, _ANSWER, _SAID = "THEQUESTION", "A", "THEANSWER"


@dataclass(frozen=True, slots=True)
class Lead:
    """What is read before an answer, to see how the answer is read behind it.

    Attributes:
        text: The end of the prompt; empty if an answer may be read alone.
        gap: White space that the answer begins with.
    """

    text: str = ""
    gap: str = ""


def find_lead(
    render: Callable[[Sequence[Mapping[str, Any]]], str],
    render_said: Callable[[Sequence[Mapping[str, Any]]], str],
    tokenise: Tokenise,
    apart: Iterable[str],
) -> Lead:
    """What stands before an answer.

    Args:
        render: A list of messages becomes a text that ends where an answer is given.
        render_said: A list of messages, the last of them an answer, becomes a text.
        tokenise: A text becomes ids.
        apart: The tokens that are cut out of a text before it is read.
    """
    asked = {"role": "user", "content": [{"type": "text", "text": _QUESTION}]}
    try:
        chat = render([asked])
    except Exception:  # a template of some family's own; where such a chat is needed, its error is told
        return Lead()
    text, alone = chat.rpartition(_QUESTION)[2], tokenise(_ANSWER)
    before, gap = tokenise(text), _find_gap(chat, asked, render_said)
    if not gap and not text.endswith(("\n", *apart)):
        return Lead()
    both = tokenise(text + gap + _ANSWER)
    return Lead(text, gap) if both[: len(before)] == before and both[len(before) :] != alone else Lead()


def _find_gap(chat: str, asked: Mapping[str, Any], render_said: Callable[[Sequence[Mapping[str, Any]]], str]) -> str:
    """White space that a conversation has before an answer, and a prompt does not end with."""
    said = {"role": "assistant", "content": [{"type": "text", "text": _SAID}]}
    try:
        whole = render_said([asked, said])
    except Exception:  # as above
        return ""
    gap = whole.partition(_SAID)[0].removeprefix(chat)
    return gap if whole.startswith(chat) and _SAID in whole and not gap.strip() else ""
