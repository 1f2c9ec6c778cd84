"""Rows that hold a question and its answer under keys of their own, as the turns that other rows have.

FineVision and the Cauldron have `texts`, ms-swift `query` and `response`, TRL `prompt` and `completion`, LLaMA-Factory
and Alpaca `instruction` and `output`, tables `question` and `answer`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from c3l.data.rejection import BadRowError

PAIRS = (("query", "response"), ("prompt", "completion"), ("instruction", "output"), ("question", "answer"))
HISTORY, INPUT, TEXTS = "history", "input", "texts"


def find_turns(row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The turns, each with ``role`` and ``content``; None if the row has no such keys.

    Raises:
        BadRowError: ``bad_turns`` if what lies under them is of another kind.
    """
    if _has_texts(row):
        return [turn for one in row[TEXTS] for turn in _pair(one["user"], one["assistant"])]
    for asked, answered in PAIRS:
        if row.get(asked) and row.get(answered):
            before = [turn for earlier in _history(row) for turn in _pair(*earlier)]
            return [*before, *_messages(_question(row, asked), "user"), *_messages(row[answered], "assistant")]
    return None


def _has_texts(row: Mapping[str, Any]) -> bool:
    """Whether there are texts of two: other tables have what is written in the picture under that name."""
    texts, both = row.get(TEXTS), {"user", "assistant"}
    return (
        bool(texts) and isinstance(texts, list) and all(isinstance(one, dict) and both <= one.keys() for one in texts)
    )


def _pair(question: Any, answer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"role": "user", "content": question}, {"role": "assistant", "content": answer}


def _question(row: Mapping[str, Any], asked: str) -> Any:
    """The question; Alpaca writes what it is about under another key."""
    more = row.get(INPUT) if asked == "instruction" else None
    return f"{row[asked]}\n{more}" if more and isinstance(more, str) and isinstance(row[asked], str) else row[asked]


def _history(row: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    """The earlier turns, as LLaMA-Factory and ms-swift have them: pairs of texts. Something else is no history.

    Raises:
        BadRowError: ``bad_turns`` for a list of something else.
    """
    history = row.get(HISTORY)
    if not isinstance(history, list):
        return []
    if not all(isinstance(one, list) and len(one) == 2 for one in history):
        raise BadRowError("bad_turns", f"got something else under `{HISTORY}` than a list of questions with answers")
    return history


def _messages(value: Any, role: str) -> list[dict[str, Any]]:
    """A text as a turn; TRL has lists of turns too."""
    if isinstance(value, list) and value and all(isinstance(one, dict) and "role" in one for one in value):
        return list(value)
    return [{"role": role, "content": value}]
