"""The config to begin with: the defaults, whether its lines are commented out or not, and nothing is missing."""

import re

import yaml

from c3l.settings.describe import WIDTH, list_sections
from c3l.settings.load import load_config
from c3l.settings.schema import RunConfig
from c3l.settings.starter import FIRST, format_starter

LINES = list(format_starter("# first", "mine.yaml"))


def flatten(values, prefix=""):
    for key, value in values.items():
        yield from flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]


def test_it_is_the_defaults_and_names_what_is_changed_first(tmp_path):
    text = "\n".join(LINES)
    (tmp_path / "mine.yaml").write_text(text)
    assert load_config(tmp_path / "mine.yaml") == RunConfig()
    named = {key: one for key, one in yaml.safe_load(text).items() if one is not None}
    assert set(flatten(named)) == set(FIRST)


def test_every_line_that_is_commented_out_is_a_setting_at_its_place_with_its_default(tmp_path):
    text = re.sub(r"^( *)#(?=\w)", r"\1", "\n".join(LINES), flags=re.MULTILINE)
    (tmp_path / "mine.yaml").write_text(text)
    assert load_config(tmp_path / "mine.yaml") == RunConfig()
    assert sorted(flatten(yaml.safe_load(text))) == sorted(flatten(RunConfig().model_dump()))


def test_every_setting_is_explained_and_the_lines_fit():
    assert LINES[0] == "# first"
    assert max(map(len, LINES)) <= WIDTH
    said = " ".join(" ".join(LINES).replace("# ", "").split())
    for section in list_sections():
        assert [it.key for it in section.settings if f"{it.description} ({it.values})" not in said] == []
