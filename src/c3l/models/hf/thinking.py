"""How a chat template lets a model think, and how an answer is put behind a thought that is empty.

A model that thinks is asked to write a thought first. The likelihood of a given answer inside that thought says
nothing, so it is scored and taught where the model itself would write it: after an empty one. The same goes for a mark
that a model writes between the end of its prompt and its answer, thought or none.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from c3l.markup.thoughts import SPELLINGS, Spelling, find_mark, find_open_thought

Render = Callable[..., str]

_QUIET = ("enable_thinking", "thinking")  # what templates call the choice not to think
_CODE = re.compile(r"\{[%{](.*?)[%}]\}", re.DOTALL)
_STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_QUESTION, _ANSWER = "THEQUESTION", "THEANSWER"


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a template does about thoughts.

    Attributes:
        opened: The beginning of a thought that it writes before the model does; empty if it writes none.
        settings: What is said to the template where an answer is given.
        closing: What is written behind its chat there: the end of the thought, or whatever the template itself writes
            before an answer, such as Command A's ``<|START_RESPONSE|>``.
        shown: The empty thought, empty if there is none.
    """

    opened: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    closing: str = ""
    shown: str = ""

    @property
    def note(self) -> str:
        """One line for a person; empty where nothing is to be said."""
        if not self.shown:
            return self.closing and (
                f"the chat template writes {self.closing!r} before an answer that was given, which the model writes "
                "itself where one is to come: answers are scored and taught behind it"
            )
        what = "opens a thought" if self.opened else "knows thoughts"
        return f"the chat template {what}: answers are scored and taught after an empty one, {self.shown!r}"


def find_thinking(render: Render, template: str) -> Thinking:
    """Look at what the template writes before the model does.

    Args:
        render: A list of messages, and settings of the template, become a text that ends where the model goes on.
        template: Its source.
    """
    try:
        return _look(render, template)
    except Exception:  # a template of some family's own; where such a chat is needed, its error is told
        return Thinking()


def _look(render: Render, template: str) -> Thinking:
    tail = _tail(render(_ask()))
    found = find_open_thought(tail)
    opened = found[1] if found else ""
    settings = {name: False for name in _QUIET if _asks_for(template, name)}
    if settings:
        quiet = _try(lambda: _tail(render(_ask(), **settings)))
        if quiet and quiet != tail and not find_open_thought(quiet):
            return Thinking(opened, settings, _try(lambda: _answered(render, quiet, settings)), _from_mark(quiet))
    closing = _try(lambda: _answered(render, tail, {})) or (_close(*found) if found else "")
    of_thoughts = found or any(one.closing in closing for one in SPELLINGS)
    return Thinking(opened, {}, closing, (opened + closing).strip() if of_thoughts else "")


def _try(write: Callable[[], str]) -> str:
    """What is written; nothing where the template refuses such a chat."""
    try:
        return write()
    except Exception:  # by any error
        return ""


def _asks_for(template: str, name: str) -> bool:
    """Whether a template looks at a setting of that name; it stands in its code, not in its words."""
    code = _STRING.sub("''", " ".join(_CODE.findall(template)))
    return re.search(rf"(?<![\w.]){name}\b", code) is not None


def _ask() -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": _QUESTION}]}]


def _tail(chat: str) -> str:
    return chat.rpartition(_QUESTION)[2]


def _answered(render: Render, tail: str, settings: Mapping[str, Any]) -> str:
    """What the template itself writes between a prompt and an answer, unless a thought is open behind it.

    White space at its end is left to ``find_lead``: with some tokenizers it is one token with the answer's first word.
    """
    said = {"role": "assistant", "content": [{"type": "text", "text": _ANSWER}]}
    chat = _tail(render([*_ask(), said], add_generation_prompt=False, **settings))
    before, found, _ = chat.partition(_ANSWER)
    more = before.removeprefix(tail) if found and before.startswith(tail) else ""
    return more.rstrip(" ") if more.strip() and not find_open_thought(tail + more) else ""


def _close(spelling: Spelling, opened: str) -> str:
    """The end of a thought in which nothing stands."""
    begins = "\n" if opened.endswith("\n") else ""
    return f"{begins}{spelling.closing}\n\n"


def _from_mark(tail: str) -> str:
    """The thought in what a template writes before an answer."""
    mark = find_mark(tail)
    return tail[tail.index(mark) :].strip() if mark else ""
