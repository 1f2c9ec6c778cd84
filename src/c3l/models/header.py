"""What a template writes before an answer in a whole conversation, where it does not when a turn is to come.

Templates without a generation prompt are of two kinds: those whose answers follow the question at once (Mistral), and
those that forgot it, whose conversations still have a header before each answer, as the model has learned it.
"""

from collections.abc import Callable

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


def tell_header(header: str) -> str:
    """One line for a person; empty where nothing is to be said."""
    if not header:
        return ""
    return (
        f"the chat template writes nothing where an answer is to come: {header!a} is put there, as before its answers"
    )
