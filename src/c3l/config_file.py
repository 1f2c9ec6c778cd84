"""Settings from strict YAML, with ``section.key=value`` overrides; every problem of them told at once."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from c3l.config import RunConfig, Settings
from c3l.errors import ConfigError

S = TypeVar("S", bound=Settings)


def load_config(path: Path | None, overrides: Iterable[str] = ()) -> RunConfig:
    """The settings of a YAML file (or the defaults), with ``section.key=value`` overrides applied.

    Raises:
        ConfigError: One error naming every problem: unknown keys with the nearest known one, bad values.
    """
    data = _read_yaml(path) if path else {}
    for override in overrides:
        _apply(data, override)
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(error, path)) from None


def make_section(section: type[S], values: Mapping[str, Any]) -> S:
    """One section out of plain values, such as those of a command's options.

    Raises:
        ConfigError: As ``load_config``.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, None)) from None


def dump_config(config: RunConfig) -> str:
    """The settings as YAML that ``load_config`` reads back to the same settings."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice is an error, not the last one's win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # a list or mapping as a key: YAML's own error follows
            if key.value in seen:
                raise ConfigError(
                    f"got the key {key.value!r} again in line {key.start_mark.line + 1}, keep one of them"
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
    except ConfigError as error:
        raise ConfigError(f"the config {path}: {error}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the config {path}: {' '.join(str(error).split())}") from None
    if data is not None and not isinstance(data, dict):
        raise ConfigError(f"the config {path} holds a {type(data).__name__}, expected `section: settings` lines")
    # `scoring:` with nothing below it, or with all of it commented out, is a section of defaults
    return {key: {} if value is None and _is_section(key) else value for key, value in (data or {}).items()}


def _is_section(key: object) -> bool:
    field = RunConfig.model_fields.get(str(key))
    return field is not None and isinstance(field.default, Settings)


def _apply(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"got --set {override!r}, expected section.key=value, for example scoring.form=log_ratio")
    *sections, last = key.strip().replace("-", "_").split(".")
    for section in sections:
        inner = data.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"got --set {override!r}, but {section!r} is a value, not a section")
        data = inner
    try:
        data[last] = yaml.load(value, _StrictLoader)
    except yaml.YAMLError:
        raise ConfigError(f"got --set {override!r}, whose value is not YAML; quote it") from None


def _explain(error: ValidationError, path: Path | None) -> str:
    where = str(path) if path else "the settings"
    return f"{where}: " + "; ".join(_explain_one(detail) for detail in error.errors())


def _explain_one(detail: Mapping[str, Any]) -> str:
    location = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), _known_keys(detail["loc"][:-1]), n=1)
        return f"unknown key {location!r}" + (f", did you mean {near[0]!r}?" if near else "")
    got = "" if isinstance(detail["input"], dict) else f"got {detail['input']!r}: "
    return f"{location}: {got}{detail['msg'].removeprefix('Value error, ')}"


def _known_keys(sections: Iterable[str | int]) -> list[str]:
    model: type[BaseModel] = RunConfig
    for section in sections:
        annotation = model.model_fields[str(section)].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)
