"""The list of settings: whole, true, readable, and the page in docs/ is the same list."""

import re
from pathlib import Path

import pytest

from c3l.settings.describe import WIDTH, format_page, format_sections, list_sections
from c3l.settings.load import load_config
from c3l.settings.schema import RunConfig

PAGE = Path(__file__).parents[2] / "docs/settings.md"
SETTINGS = [setting for section in list_sections() for setting in section.settings]


def flatten(values, prefix=""):
    for key, value in values.items():
        yield from flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]


def test_every_setting_is_listed_once_and_described():
    listed = [setting.key for setting in SETTINGS]
    assert [key for key in listed if "[]" not in key] == sorted(listed_of_a_run(), key=listed.index)
    assert {"evaluation.tasks[].task", "evaluation.tasks[].data"} <= set(listed)
    assert not [setting.key for setting in SETTINGS if not setting.description or not setting.values]


def listed_of_a_run():
    return set(flatten(RunConfig().model_dump()))


@pytest.mark.parametrize("setting", [it for it in SETTINGS if "[]" not in it.key], ids=lambda it: it.key)
def test_a_default_as_listed_is_that_of_the_code(setting):
    assert load_config(None, [f"{setting.key}={setting.default}"]) == RunConfig()


def test_choices_and_bounds_are_told():
    values = {setting.key: setting.values for setting in SETTINGS}
    assert values["scoring.no_image"] == "drop, blank, noise, mask, others"
    assert values["generation.top_p"] == "number, > 0, <= 1"
    assert values["filtering.count"] == "whole number or null, >= 1"
    assert values["filtering.band"] == "list of 2 numbers"
    assert values["evaluation.tasks[].task"] == "pope, mmbench, seed_bench, llava_bench"


def test_every_number_that_changes_a_result_says_where_it_comes_from():
    source = re.compile(r"\b(paper|CLAPS|LLaVA|ours|choice|transformers' default)\b|changes (speed only|no result)")
    free = re.compile(r"seed$|executor\.|.*\.(save|logging)_steps$")
    numbers = [it for it in SETTINGS if re.fullmatch(r"[\d.e-]+|\[[\d., ]+\]", it.default) and not free.match(it.key)]
    assert len(numbers) > 30
    assert not [it.key for it in numbers if not source.search(it.description)]


def test_the_lines_fit_the_terminal():
    lines = list(format_sections(list(list_sections())))
    assert max(map(len, lines)) <= WIDTH
    assert all(any(line.startswith(f"  {setting.key} = ") for line in lines) for setting in SETTINGS)


def test_the_page_is_what_the_code_says():
    written = PAGE.read_text(encoding="utf-8")
    assert written == "\n".join(format_page()) + "\n", "c3l settings --markdown > docs/settings.md"
