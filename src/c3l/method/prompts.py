"""Instruction templates: what the LVLM is asked to write, as data that users can add to."""

import difflib
import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from c3l.errors import ConfigError, one_line
from c3l.method.parsing import PARSERS
from c3l.settings.schema import GenerationConfig

_TYPES = {"id": str, "version": int, "parser": str, "text": str}
_BRACES = "write {{ and }} where you mean a brace"


_TEXTS = {"question": {"type": "string"}, "answer": {"type": "string"}}
_PAIR = {"type": "object", "properties": _TEXTS, "required": [*_TEXTS], "additionalProperties": False}
# an object around the list, since some servers take no list as the whole
_PAIRS = json.dumps(
    {
        "type": "object",
        "properties": {"pairs": {"type": "array", "items": _PAIR}},
        "required": ["pairs"],
        "additionalProperties": False,
    }
)


@dataclass(frozen=True, slots=True)
class InstructionTemplate:
    """One way of asking for question-answer pairs.

    Attributes:
        id: Its name in the config and in every sample.
        version: Raised with every change of the text.
        parser: Name of the parser that reads the reply.
        text: What the LVLM is asked; ``{k}`` stands for the number of pairs, ``{{`` and ``}}`` for braces.
    """

    id: str
    version: int
    parser: str
    text: str

    def render(self, k: int) -> str:
        """The prompt that asks for ``k`` pairs."""
        return self.text.format(k=k)

    @property
    def schema(self) -> str:
        """The JSON schema of a reply that the template's parser reads whole; empty where it asks for no JSON."""
        return _PAIRS if self.parser == "json" else ""

    def write_reply(self, pairs: Sequence[tuple[str, str]], *, more: bool = False) -> str:
        """A reply with these (question, answer) pairs, in the form that the template's parser reads first.

        Args:
            pairs: Questions and answers of one line.
            more: Leave the reply open, so that further pairs can follow.
        """
        if self.parser == "json":
            text = json.dumps([{"question": q, "answer": a} for q, a in pairs], ensure_ascii=False)
            return text.removesuffix("]") if more else text
        if self.parser == "lines":
            return "\n".join(f"{q} | {a}" for q, a in pairs)
        return "\n".join(f"Question {n}: {q}\nAnswer {n}: {a}" for n, (q, a) in enumerate(pairs, start=1))


def load_templates(extra: Path | None = None) -> dict[str, InstructionTemplate]:
    """The shipped templates and those of the user's YAML file, by id.

    Raises:
        ConfigError: If the file cannot be read, or an entry has a wrong key or value, or an id is taken.
    """
    templates = dict(_load_shipped())
    if extra is not None:
        _add(templates, _read(extra), str(extra))
    return templates


@cache
def _load_shipped() -> dict[str, InstructionTemplate]:
    shipped = resources.files("c3l.method").joinpath("templates/instructions.yaml")
    templates: dict[str, InstructionTemplate] = {}
    _add(templates, shipped.read_text(encoding="utf-8"), "the shipped templates")
    return templates


def choose_templates(config: GenerationConfig) -> list[InstructionTemplate]:
    """The templates that a run asks for, in its order, each once.

    Raises:
        ConfigError: As ``load_templates``, or if an id is unknown.
    """
    templates = load_templates(config.templates)
    for name in config.instructions:
        if name not in templates:
            near = difflib.get_close_matches(name, templates, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(templates)}"
            raise ConfigError(f"generation.instructions: unknown template {name!r}, {hint}")
    return [templates[name] for name in dict.fromkeys(config.instructions)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f"cannot read the templates {path}: {why}; name a YAML file of templates with --set generation.templates="
        ) from None


def _add(templates: dict[str, InstructionTemplate], text: str, where: str) -> None:
    try:
        entries = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, AttributeError) as error:  # such as a date that there is not
        raise ConfigError(f"{where}: not YAML: {one_line(error, 3000)}") from None
    if not isinstance(entries, list):
        got = type(entries).__name__
        raise ConfigError(f"{where}: got a {got}, expected a list of templates, - id: ...")
    for number, entry in enumerate(entries, start=1):
        template = _check(entry, f"{where}, template {number}")
        if template.id in templates or template.id == "data":  # "data" marks pairs read from a file
            raise ConfigError(f"{where}, template {number}: the id {template.id!r} is taken; give it another")
        templates[template.id] = template


def _check(entry: Any, where: str) -> InstructionTemplate:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: got {entry!r}, expected the keys {', '.join(_TYPES)}")
    if entry.keys() != _TYPES.keys():
        raise ConfigError(f"{where}: got the keys {', '.join(map(str, entry))}, expected {', '.join(_TYPES)}")
    for key, kind in _TYPES.items():
        if type(entry[key]) is not kind:
            raise ConfigError(f"{where}: {key} is {entry[key]!r}, expected {kind.__name__}")
    if not entry["id"].replace("_", "").replace("-", "").isalnum():
        raise ConfigError(f"{where}: id is {entry['id']!r}, expected letters, digits, - and _")
    if entry["parser"] not in PARSERS:
        raise ConfigError(f"{where}: parser is {entry['parser']!r}, expected one of {', '.join(PARSERS)}")
    _check_text(entry["text"], where)
    return InstructionTemplate(**entry)


def _check_text(text: str, where: str) -> None:
    try:
        fields = [part[1:] for part in string.Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise ConfigError(f"{where}: text: {error}; {_BRACES}") from None
    if not fields or any(field != ("k", "", None) for field in fields):
        got = ", ".join(f"{{{name}}}" for name, _, _ in fields) or "none"
        raise ConfigError(f"{where}: text has the fields {got}, expected only {{k}}; {_BRACES}")
