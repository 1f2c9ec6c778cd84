"""Instruction templates: the shipped ones, the user's, and what is wrong with a file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c3l.errors import ConfigError
from c3l.method.parsing import PARSERS, find_pairs
from c3l.method.prompts import InstructionTemplate, choose_templates, load_templates
from c3l.settings.schema import GenerationConfig

GOOD = "- id: mine\n  version: 1\n  parser: lines\n  text: 'Write {k} lines, with {{braces}}.'\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_shipped_template_renders_its_number() -> None:
    templates = load_templates()
    assert {"conversation", "detailed_description", "complex_reasoning", "brief_vqa"} <= templates.keys()
    for template in templates.values():
        assert "Write 7 " in template.render(7)
        assert "<image>" not in template.text
    assert '[{"question": "...", "answer": "..."}' in templates["conversation_json"].render(2)


def test_a_users_file_adds_to_the_shipped_ones(tmp_path: Path) -> None:
    templates = load_templates(write(tmp_path, GOOD))
    assert templates["mine"].render(3) == "Write 3 lines, with {braces}."
    assert len(templates) == len(load_templates()) + 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("mine", "conversation"), "'conversation' is taken"),
        (GOOD + GOOD, "template 2: the id 'mine' is taken"),
        (GOOD.replace("mine", "data"), "'data' is taken"),
        (GOOD.replace("mine", "a b"), "expected letters"),
        (GOOD.replace("lines", "xml", 1), "parser is 'xml', expected one of numbered, json, lines"),
        (GOOD.replace("{k}", "five"), "has the fields none, expected only {k}"),
        (GOOD.replace("{k}", "{k} {n}"), "has the fields {k}, {n}, expected only {k}"),
        (GOOD.replace("{k}", "{k.__class__}"), "expected only {k}"),
        (GOOD.replace("{k}", "{k!r}"), "expected only {k}"),
        (GOOD.replace("{k}", "{k"), "write {{ and }}"),
        (GOOD.replace("version: 1", "version: '1'"), "version is '1', expected int"),
        (GOOD.replace("version: 1", "version: true"), "version is True, expected int"),
        (GOOD.replace("  version: 1\n", ""), "got the keys id, parser, text, expected"),
        (GOOD + "  colour: red\n", "got the keys id, version, parser, text, colour, expected"),
        ("- just text", "got 'just text'"),
        ("mine: 1", "got a dict, expected a list"),
        ("", "got a NoneType, expected a list"),
        ("- [", "not YAML"),
        (GOOD.replace("version: 1", "version: 2024-13-45"), "not YAML: month must be in 1..12"),
    ],
)
def test_a_wrong_file_is_one_line_that_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_templates(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml: No such file .*--set generation\.templates="):
        load_templates(tmp_path / "missing.yaml")


def test_templates_are_chosen_in_the_configs_order_each_once() -> None:
    config = GenerationConfig(instructions=("brief_vqa", "conversation", "brief_vqa"))
    assert [template.id for template in choose_templates(config)] == ["brief_vqa", "conversation"]


def test_an_unknown_template_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown template 'conversatoin', did you mean 'conversation'"):
        choose_templates(GenerationConfig(instructions=("conversatoin",)))


WORD = st.text("abcdefghijklmnopqrstuvwxyzäéßøłñçжы木目", min_size=1, max_size=9)
# of prose: words, quoted ones, numbers, and punctuation that is no label and no separator of cells
PIECE = st.one_of(WORD, WORD.map('"{}"'.format), WORD.map("{},".format), WORD.map("'{}'".format), st.just("12"))
PROSE = st.lists(PIECE, min_size=1, max_size=8).map(" ".join)
QUESTIONS = PROSE.map("What {}?".format)
ANSWERS = PROSE.map("The {}.".format)


@pytest.mark.parametrize("parser", PARSERS)
@given(pairs=st.lists(st.tuples(QUESTIONS, ANSWERS), min_size=1, max_size=5))
def test_a_parser_reads_back_the_reply_that_is_written_for_it(parser: str, pairs: list[tuple[str, str]]) -> None:
    reply = InstructionTemplate("mine", 1, parser, "Write {k}.").write_reply(pairs)
    assert [(pair.question, pair.answer) for pair in find_pairs(reply, parser)] == pairs


@pytest.mark.parametrize("template", load_templates().values(), ids=lambda template: template.id)
def test_a_reply_has_the_form_that_its_instruction_shows(template: InstructionTemplate) -> None:
    assert template.write_reply([("...", "...")]).strip("[]") in template.render(1)


def test_a_written_reply_keeps_what_json_would_escape() -> None:
    reply = InstructionTemplate("mine", 1, "json", "Write {k}.").write_reply([('Was sagt "Öl"?', "Nichts, 🌳.")])
    assert "Ö" in reply
    assert "🌳" in reply
    assert [(pair.question, pair.answer) for pair in find_pairs(reply, "json")] == [('Was sagt "Öl"?', "Nichts, 🌳.")]
