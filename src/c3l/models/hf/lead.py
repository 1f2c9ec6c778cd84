"""What a template writes before an answer, where an answer is read otherwise behind it than alone.

A tokenizer of SentencePiece's kind begins every text with a space. Behind "ASSISTANT:" one belongs there; on a line of
its own, or behind a token that ends the header, the model itself would write the answer without it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Tokenise = Callable[[str], tuple[int, ...]]

_QUESTION, _ANSWER = "THEQUESTION", "A"


def find_lead(render: Callable[[Sequence[Mapping[str, Any]]], str], tokenise: Tokenise, apart: Iterable[str]) -> str:
    """The text before an answer; empty if an answer may be read alone.

    Args:
        render: A list of messages becomes a text that ends where an answer is given.
        tokenise: A text becomes ids.
        apart: The tokens that are cut out of a text before it is read.
    """
    try:
        chat = render([{"role": "user", "content": [{"type": "text", "text": _QUESTION}]}])
    except Exception:  # a template of some family's own; where such a chat is needed, its error is told
        return ""
    lead = chat.rpartition(_QUESTION)[2]
    if not lead.endswith(("\n", *apart)):
        return ""
    before, both = tokenise(lead), tokenise(lead + _ANSWER)
    return lead if both[: len(before)] == before and both[len(before) :] != tokenise(_ANSWER) else ""
