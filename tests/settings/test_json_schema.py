"""The JSON schema: what is shipped is that of the code, and it takes and refuses what the loader does."""

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from c3l.errors import ConfigError
from c3l.settings.json_schema import MODELINE, format_json_schema, make_json_schema
from c3l.settings.load import load_config
from c3l.settings.shipped import SCHEMA as SHIPPED

FOLDER = Path(__file__).parents[2] / "configs"
CONFIGS = sorted(FOLDER.rglob("*.yaml"))
SCHEMA = make_json_schema()


def test_the_shipped_schema_is_that_of_the_code_and_comes_with_the_package():
    written = (FOLDER / "schema.json").read_text(encoding="utf-8")
    assert written == format_json_schema(), "c3l settings --json-schema > configs/schema.json"
    assert SHIPPED.read_text(encoding="utf-8") == written


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_names_the_schema_and_keeps_to_it(path):
    text = path.read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert first.startswith(MODELINE)
    assert (path.parent / first.removeprefix(MODELINE)).resolve() == (FOLDER / "schema.json").resolve()
    assert list(Draft202012Validator(SCHEMA).iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize("validator", [Draft7Validator, Draft202012Validator], ids=lambda one: one.__name__)
@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("scoring:", True),
        ("scoring: {form: log_ratio}", True),
        ("scoring: {from: log_ratio}", False),
        ("scoring: {form: magic}", False),
        ("scoring: {others: 0}", False),
        ("sed: 1", False),
        ("seed: 1", True),
        ("seed:", False),
        ("export: {formats: ids}", True),
        ("export: {formats: [llava, ids]}", True),
        ("export: {formats: []}", False),
        ("export: {formats: lava}", False),
        ("evaluation: {tasks: {task: pope, data: a.json}}", True),
        ("evaluation: {tasks: [{task: pope, data: [a.json]}]}", True),
        ("evaluation: {tasks: [{task: pope}]}", False),
        ("evaluation: {judge: {repeats: 2}}", True),
        ("model: builtin", False),
        ("filtering: {band: [0.1, 0.9]}", True),
        ("filtering: {count: null}", True),
    ],
)
def test_it_takes_and_refuses_what_the_loader_does(validator, text, right, tmp_path):
    (tmp_path / "one.yaml").write_text(text)
    assert validator(SCHEMA).is_valid(yaml.safe_load(text)) is right
    if right:
        load_config(tmp_path / "one.yaml")
    else:
        with pytest.raises(ConfigError):
            load_config(tmp_path / "one.yaml")


def test_every_setting_has_its_description():
    sections = [SCHEMA, *SCHEMA["$defs"].values()]
    lacking = [key for one in sections for key, it in one["properties"].items() if "description" not in it]
    assert set(lacking) <= {*SCHEMA["properties"], "judge"}, "of sections, whose own says it"
    assert all(one["description"] for one in SCHEMA["$defs"].values())
