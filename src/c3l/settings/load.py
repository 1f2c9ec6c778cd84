"""Settings from strict YAML, with ``section.key=value`` overrides; every problem of them told at once."""

import copy
import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import ValidationError

from c3l.errors import ConfigError, one_line
from c3l.settings.base import Settings
from c3l.settings.describe import Setting, find_elsewhere, list_sections
from c3l.settings.schema import RunConfig
from c3l.settings.shipped import find_config, list_configs

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # built without libyaml, slower
    from yaml import SafeLoader  # type: ignore[assignment]

S = TypeVar("S", bound=Settings)
T = TypeVar("T")

_UNKNOWN = ("extra_forbidden", "invalid_key")  # the latter is no text, such as 1 or YAML's bare no


class Override(NamedTuple):
    """A setting from the command line, and how it was typed there."""

    key: str
    value: Any
    typed: str


class Source(NamedTuple):
    """A file of settings, and what it holds."""

    path: Path
    data: dict[str, Any]


def load_config(paths: Path | Sequence[Path] | None, overrides: Iterable[str | Override] = ()) -> RunConfig:
    """The settings of YAML files (or the defaults), with overrides (as text: ``section.key=value``) applied in order.

    Of several files a later one wins, setting by setting; a list is a setting as a whole. A name without a file may be
    that of a shipped config.

    Raises:
        ConfigError: One error naming every problem and where it stands: unknown keys with the nearest known one,
            bad values with what is expected.
    """
    named = [paths] if isinstance(paths, Path) else paths or ()
    return _load(map(find_config, named), overrides)


def load_saved(path: Path, overrides: Iterable[str | Override] = ()) -> RunConfig:
    """As ``load_config``, of the file that a run has written into its folder; the defaults where it is not there."""
    found = [path] if path.exists() else []
    kept = [one for file in found for one in _find_kept(file)]
    return _load(found, [*kept, *check_list(overrides)], doubt="it may be of another version of c3l")


def keep_templates(run: Path, templates: Path) -> Path:
    """Where a run folder keeps its copy of a file of templates, with which it goes on where that is gone."""
    return run / "templates" / templates.name


def _find_kept(saved: Path) -> list[Override]:
    """The copy of a run's templates in the place of their file, where that is gone."""
    section = _read_yaml(saved).get("generation")
    named = section.get("templates") if isinstance(section, dict) else None
    if not isinstance(named, str) or os.path.exists(named):  # of any text, also what can be no path
        return []
    kept = keep_templates(saved.parent, Path(named))
    typed = f"the templates that {saved.parent} keeps"
    return [Override("generation.templates", str(kept.absolute()), typed)] if os.path.exists(kept) else []


def _load(paths: Iterable[Path], overrides: Iterable[str | Override], doubt: str = "") -> RunConfig:
    files = [Source(path, _read_yaml(path)) for path in paths]
    data: dict[str, Any] = {}
    for file in files:
        _merge(data, file.data)
    read = [read_override(one) if isinstance(one, str) else one for one in check_list(overrides)]
    for override in read:
        _apply(data, override)
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(error, RunConfig, files, read, doubt=doubt)) from None


def check_list(settings: Iterable[T]) -> list[T]:
    """Settings as Python's callers give them, who may forget that they are a list of texts.

    Raises:
        ConfigError: If they are no list, but such as one text or a mapping, or hold anything else than texts.
    """
    if isinstance(settings, str | Mapping) or not isinstance(settings, Iterable):
        pairs = settings.items() if isinstance(settings, Mapping) else ()
        one = settings if isinstance(settings, str) else next((f"{key}={value}" for key, value in pairs), "")
        raise ConfigError(f"got settings={settings!r}, expected a list such as {[one or 'rounds=0']}")
    listed = list(settings)
    for each in listed:
        if not isinstance(each, str | Override):
            raise ConfigError(f"got {each!r} among the settings, expected a text such as 'rounds=0'")
    return listed


def make_section(section: type[S], values: Mapping[str, Any]) -> S:
    """One section out of a command's options.

    Raises:
        ConfigError: As ``load_config``.
    """
    try:
        return section.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, section, (), otherwise="the options")) from None


@lru_cache(maxsize=4)  # a run asks for its own before every shard
def dump_config(config: RunConfig) -> str:
    """The settings as YAML that ``load_config`` reads back to the same settings."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


class _StrictLoader(SafeLoader):
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
    except UnicodeDecodeError:
        raise ConfigError(f"cannot read the config {path}: it is no text; expected a YAML file of settings") from None
    except OSError as error:
        near = difflib.get_close_matches(str(path), list_configs(), n=1, cutoff=0.5)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"cannot read the config {path}: {error.strerror}; expected a YAML file of settings, or one that is "
            f"shipped: {', '.join(list_configs())}{meant}"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"the config {path} is not YAML: {_explain_yaml(error)}") from None
    except (ValueError, AttributeError) as error:  # such as a date that there is not
        raise ConfigError(f"the config {path} has a value that YAML cannot read: {one_line(error)}; quote it") from None
    if data is not None and not isinstance(data, dict):
        raise ConfigError(
            f"the config {path} holds {'a list' if isinstance(data, list) else f'only {str(data)[:40]!r}'}, expected "
            "lines of YAML such as `seed: 1`, or `model:` with its settings indented below it"
        )
    # `scoring:` with nothing below it, or with all of it commented out, is a section of defaults
    return {key: {} if value is None and _is_section(key) else value for key, value in (data or {}).items()}


def _explain_yaml(error: yaml.YAMLError) -> str:
    """Where a text stops being YAML, and what to look at there."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return one_line(error)
    mark = error.problem_mark
    return (
        f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}; settings of one section begin in the same "
        "column, indented by spaces, and brackets and quotes are closed"
    )


def _is_section(key: object) -> bool:
    field = RunConfig.model_fields.get(str(key))
    return field is not None and isinstance(field.default, Settings)


def read_override(text: str) -> Override:
    """What ``--set section.key=value`` says.

    Raises:
        ConfigError: If it is no such text.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"got --set {text!r}, expected section.key=value, for example scoring.form=log_ratio")
    try:
        return Override(key.strip().replace("-", "_"), yaml.load(value, _StrictLoader), f"--set {text}")
    except ConfigError as error:
        raise ConfigError(f"--set {text}: {error}") from None
    except (yaml.YAMLError, ValueError, AttributeError):
        raise ConfigError(f"got --set {text!r}, whose value is not YAML; quote it") from None


def _merge(data: dict[str, Any], later: Mapping[str, Any]) -> None:
    for key, value in later.items():
        if isinstance(value, dict) and isinstance(data.get(key), dict):
            _merge(data[key], value)
        else:
            data[key] = copy.deepcopy(value)  # of its own, for what is merged into it next


def _apply(data: dict[str, Any], override: Override) -> None:
    *sections, last = override.key.split(".")
    for section in sections:
        inner = data.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"got {override.typed}, but {section!r} is a value, not a section")
        data = inner
    value = override.value
    data[last] = os.fspath(value) if isinstance(value, os.PathLike) else value


def _explain(
    error: ValidationError,
    model: type[Settings],
    files: Sequence[Source],
    overrides: Sequence[Override] = (),
    otherwise: str = "the settings",
    doubt: str = "",
) -> str:
    """Every problem in one line, behind the option or file that it stands in; of a file with unknown keys the doubt."""
    details = error.errors()
    places = [".".join(map(str, detail["loc"])) for detail in details]
    told: dict[str, list[str]] = {}
    for place, detail in zip(places, details, strict=True):
        if not any(_is_inside(other, place) for other in places):  # else its cause is told already
            source = _find_source(place, overrides) or _find_file(detail["loc"], files) or otherwise
            told.setdefault(source, []).append(_explain_one(place, detail, model))
    strange = {_find_file(detail["loc"], files) for detail in details if detail["type"] in _UNKNOWN}
    for source in filter(None, strange & told.keys() if doubt else ()):
        told[source].append(doubt)
    return "; ".join(f"{source}: {'; '.join(problems)}" for source, problems in told.items())


def _is_inside(place: str, outer: str) -> bool:
    return place.startswith(f"{outer}.") and outer != ""


def _find_source(place: str, overrides: Sequence[Override]) -> str:
    """The last override that gave what stands in a place, or those that gave parts of it; empty: none did."""
    whole = [one.typed for one in overrides if one.key == place or _is_inside(place, one.key)]
    return whole[-1] if whole else " ".join(one.typed for one in overrides if _is_inside(one.key, place))


def _find_file(location: Sequence[str | int], files: Sequence[Source]) -> str:
    """The last file that gave what stands in a place or, where none did, its section; empty: there is no file."""
    for length in range(len(location), -1, -1):
        for file in reversed(files):
            if _is_given(location[:length], file.data):
                return str(file.path)
    return ""


def _is_given(location: Sequence[str | int], data: Any) -> bool:
    for part in location:
        if isinstance(part, int) or not isinstance(data, dict):
            return isinstance(data, list)  # a list stands in one file as a whole
        if part not in data:
            return False
        data = data[part]
    return True


def _explain_one(place: str, detail: Mapping[str, Any], model: type[Settings]) -> str:
    kind, got = detail["type"], detail["input"]
    if kind in _UNKNOWN:
        return _explain_unknown(place, detail["loc"], model)
    if kind == "value_error":
        return f"{place}: {detail['ctx']['error']}".removeprefix(": ")
    if kind in ("model_type", "model_attributes_type"):
        return f"{place}: got {got!r}, expected a section, {_show_section(place, detail['loc'], got, model)}"
    setting = _find_setting(detail["loc"], model)
    if kind == "missing":
        return f"{place} is missing, expected {setting.values}"
    expected = {"literal_error": detail.get("ctx", {}).get("expected"), "finite_number": "a finite number"}
    text = f"{place}: got {got!r}, expected {expected.get(kind) or setting.values}"
    if setting.values.startswith("list") and (kind == "tuple_type" or "," in str(got)):
        return f"{text}; a list is written [a, b]"
    if kind in ("string_type", "path_type") and isinstance(got, int | float):
        return f"{text}; write it in quotes"
    return text


def _explain_unknown(place: str, location: Sequence[str | int], model: type[Settings]) -> str:
    section = _name(location[:-1])
    sections = list(list_sections(model))
    names = [it.key for one in sections for it in one.settings] + [one.name for one in sections]
    known = [name.rpartition(".")[2] for name in names if name.rpartition(".")[0] == section and name[-2:] != "[]"]
    near = find_elsewhere(place) or difflib.get_close_matches(str(location[-1]), known, n=1)
    if near:
        return f"unknown key {place!r}, did you mean {' or '.join(map(repr, near))}?"
    return f"unknown key {place!r}, expected one of {', '.join(filter(None, known))}"


def _show_section(place: str, location: Sequence[str | int], got: object, model: type[Settings]) -> str:
    """How to write what was perhaps meant: the value as the section's first setting."""
    [section] = [one for one in list_sections(model) if one.name == _name(location)]
    first = section.settings[0].key.rpartition(".")[2]
    if isinstance(location[-1], int):
        return f"such as {{{first}: {got}, ...}}"
    return f"such as `{location[-1]}: {{{first}: {got}}}` or `--set {place}.{first}={got}`"


def _find_setting(location: Sequence[str | int], model: type[Settings]) -> Setting:
    """The setting that a value, or an element of it, belongs to."""
    settings = {it.key: it for one in list_sections(model) for it in one.settings}
    return settings[_name(location).removesuffix("[]")]


def _name(location: Sequence[str | int]) -> str:
    """The name of a place in the list of settings: places in a list are ``[]``."""
    return "".join("[]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
