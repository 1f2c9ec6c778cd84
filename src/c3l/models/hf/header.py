"""What a template writes around an answer: before it, also where it forgets to when a turn is to come, and behind it.

Templates without a generation prompt are of two kinds: those whose answers follow the question at once (Mistral), and
those that forgot it, whose conversations still have a header before each answer, as the model has learned it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_QUESTION, _ANSWER = "THEQUESTION", "THEANSWER"


def find_header(render: Callable[..., str]) -> str:
    """The header that is missing where an answer is to come; empty if none is.

    Args:
        render: A list of messages, and whether a turn is to come (``add_generation_prompt``), become a text.
    """
    asked = {"role": "user", "content": [{"type": "text", "text": _QUESTION}]}
    said = {"role": "assistant", "content": [{"type": "text", "text": _ANSWER}]}
    try:
        before, prompted = render([asked], add_generation_prompt=False), render([asked], add_generation_prompt=True)
        whole = render([asked, said], add_generation_prompt=False)
    except Exception:  # a template of some family's own; where such a chat is needed, its error is told
        return ""
    header = whole.partition(_ANSWER)[0].removeprefix(before)
    is_missing = before == prompted and _ANSWER in whole and whole.startswith(before) and header.strip()
    return header if is_missing else ""


def cut_header(header: str, tokenise: Callable[[str], tuple[int, ...]]) -> str:
    """A header without a space at its end that is one token with an answer's first word: ``find_lead`` puts it there.

    Args:
        header: As ``find_header`` finds it.
        tokenise: A text becomes ids.
    """
    ids = tokenise(header)
    return header if tokenise(f"{header}A")[: len(ids)] == ids else header.rstrip(" ")


def find_turn_end(render: Callable[..., str], tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """The special token that a template writes behind an answer; None where it writes none.

    Args:
        render: As of ``find_header``.
        tokenizer: Reads it.
    """
    turns = ("user", _QUESTION), ("assistant", _ANSWER), ("user", _QUESTION)
    chat = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns]
    try:
        behind = render(chat).split(_ANSWER)[1].lstrip()
    except Exception:  # as above
        return None
    first = next(iter(tokenizer(behind, add_special_tokens=False)["input_ids"]), None)
    token = tokenizer.added_tokens_decoder.get(first)
    return int(first) if first is not None and token is not None and token.special else None


def tell_header(header: str) -> str:
    """One line for a person; empty where nothing is to be said."""
    if not header:
        return ""
    return (
        f"the chat template writes nothing where an answer is to come: {header!a} is put there, as before its answers"
    )
