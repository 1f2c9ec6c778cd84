"""What the command line refuses at once, and the commands that it tells a person to copy."""

import json
import shlex
from pathlib import Path

import pytest

from c3l.cli.main import main
from c3l.executors.local import LocalExecutor
from fakes import write_fake_model
from runs import Loader, draw_pictures

PLAIN = ("rounds=0", "scoring.no_image=drop", "scoring.form=discounted_likelihood")


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Four pictures, and a fake model in the place of every loaded one."""
    loader = Loader()
    monkeypatch.setattr("c3l.run.context.make_executor", lambda config: LocalExecutor(loader))
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_fake_model(tmp_path / "model")
    draw_pictures(tmp_path / "pictures", 4)
    settings = [word for one in PLAIN for word in ("--set", one)]
    return ["--image-root", "pictures", "--model", "model", "--dtype", "float32", *settings]


def refusal(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    """The last line of stderr of a command that ends with this code and prints nothing."""
    capsys.readouterr()
    assert main([*words]) == code
    told = capsys.readouterr()
    assert told.out == ""
    return told.err.splitlines()[-1]


def test_a_stage_of_other_settings_ends_as_every_folder_of_other_settings(options, capsys):
    assert main(["run", "whole", *options]) == 0
    assert main(["filter", "whole", "--set", "filtering.fraction=0.25"]) == 0
    for command in ("report whole", "push whole --to me/mine"):
        assert "c3l export whole" in refusal(capsys, *command.split())
    assert "is not done" in refusal(capsys, *"score whole --round 1 --set rounds=1".split(), code=1)


@pytest.mark.parametrize(
    "command", ["run runs/a", "run --run runs/a", "generate runs/a", "check runs/a", "demo runs/a"]
)
def test_two_run_folders_are_refused(options, capsys, command):
    told = refusal(capsys, *command.split(), *options, "--set", "run=runs/b")
    assert told == "c3l: got the run folder runs/a and --set run=runs/b, expected one of them"
    assert not Path("runs").exists()


def test_the_same_run_folder_may_be_named_twice(options):
    assert main(["run", "runs/a", *options, "--set", "run=runs/a"]) == 0
    assert main(["run", "--set", "run=runs/a"]) == 0


def test_an_unknown_key_in_a_runs_own_config_may_be_of_another_version(options, capsys):
    assert main(["run", "whole", *options]) == 0
    config = Path("whole/config.yaml")
    config.write_text(config.read_text() + "novelty: 1\n")
    doubt = "; it may be of another version of c3l"
    for command in ("run whole", "status whole", "show whole", "report whole"):
        told = refusal(capsys, *command.split())
        assert "whole/config.yaml: unknown key 'novelty'" in told and told.endswith(doubt)
    told = refusal(capsys, "run", "whole", "--set", "magic=1")
    assert told.count(doubt) == 1 and f"{doubt}; --set magic=1: unknown key" in told
    assert doubt not in refusal(capsys, "check", "--config", "whole/config.yaml")
    config.write_text(config.read_text().replace("novelty: 1\n", ""))
    assert doubt not in refusal(capsys, "run", "whole", "--set", "magic=1")


def test_a_command_to_copy_holds_its_folder_as_one_word(options, capsys):
    run = "my runs/it's 1"
    assert main(["run", run, *options]) == 0
    assert main(["filter", run, "--set", "filtering.fraction=0.25"]) == 0
    asked = [("report", run), ("generate", run, "--seed", "2"), ("score", run, "--round", "1", "--set", "rounds=1")]
    told = [refusal(capsys, *asked[0]), refusal(capsys, *asked[1]), refusal(capsys, *asked[2], code=1)]
    capsys.readouterr()
    assert main(["status", run]) == 0
    told += [line for line in capsys.readouterr().out.splitlines() if line.startswith("stale: ")]
    commands = [part for line in told for part in line.split("`")[1::2] if part.startswith("c3l ")]
    assert len(commands) == 4
    for command in commands:
        assert run in shlex.split(command), command


def test_a_served_model_cannot_score_a_data_file(options, capsys):
    Path("data.json").write_text("[]")
    served = ["--model", "openai:tiny", "--set", "model.endpoint=http://localhost:1/v1"]
    told = refusal(capsys, "score", "--data", "data.json", "--image-root", "pictures", "--out", "o.jsonl", *served)
    assert told == (
        "c3l: the served model openai:tiny can write, but not score; name a model that does with "
        "--set scoring.model=FOLDER"
    )
    told = refusal(capsys, "evaluate", "--print-commands", *served)
    assert "got --print-commands with the served model openai:tiny, expected a model folder" in told


def test_a_folder_is_no_file_of_scores(options, capsys):
    Path("data.json").write_text(json.dumps([{"id": 1}]))
    for out in (".", "/", "pictures"):
        words = ["score", "--data", "data.json", *options[:4], "--out", out]
        assert refusal(capsys, *words, code=1) == (
            f"c3l: got --out {out}, which is a folder; expected the JSONL file to write"
        )


def test_the_demos_config_comes_on_top_of_the_shipped_one(capsys):
    assert main(["demo", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "on top of the shipped demo" in shown
    assert "default: the run's own config.yaml" not in shown


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("settings --markdown --json-schema", "got --markdown and --json-schema, expected one of them"),
        ("settings scoring --markdown", "got --markdown and scoring, expected one of them"),
        ("settings scoring --json-schema", "got --json-schema and scoring, expected one of them"),
        ("init -", "got -, expected the name of a file to write"),
        ("init pictures --force", "got pictures, which is a folder; expected a file to write"),
        ("init pictures", "got pictures, which is a folder; expected a file to write"),
    ],
)
def test_what_would_be_ignored_is_refused(options, capsys, command, told):
    assert told in refusal(capsys, *command.split())
    assert not Path("-").exists()
