"""The settings as a JSON schema, by which an editor completes, explains and checks a YAML file of them."""

import json
from typing import Any

from c3l.settings.schema import RunConfig

MODELINE = "# yaml-language-server: $schema="  # what editors look for on top of a YAML file


def format_json_schema() -> str:
    """The text of ``configs/schema.json``."""
    return json.dumps(make_json_schema(), indent=1) + "\n"


def make_json_schema() -> dict[str, Any]:
    """What a YAML file of settings may hold, section by section.

    It is what ``load_config`` reads, as far as a schema can say it: which settings need each other is found at reading.
    No ``$schema`` names its version, since editors know different ones.
    """
    schema = RunConfig.model_json_schema()
    for section in (schema, *schema["$defs"].values()):
        section.pop("title", None)
        section["properties"] = {key: _describe(one) for key, one in section["properties"].items()}
    for key, one in schema["properties"].items():
        if "$ref" in one:  # with nothing below it, a section of defaults
            schema["properties"][key] = {"anyOf": [{"$ref": one["$ref"]}, {"type": "null"}]}
    return schema


def _describe(setting: dict[str, Any]) -> dict[str, Any]:
    """A setting without the title made of its name; one element may stand for a list of one."""
    kept = {key: value for key, value in setting.items() if key != "title"}
    if "items" not in kept:
        return kept
    listed = {key: kept.pop(key) for key in ("type", "items", "minItems") if key in kept}
    return {**kept, "anyOf": [listed, listed["items"]]}
