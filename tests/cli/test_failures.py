"""What is said of errors that other libraries raise, and of what a newcomer mistypes."""

import errno
import io
import os
import sys
from pathlib import Path

import pytest

from c3l.cli.failures import tell
from c3l.cli.main import main
from c3l.errors import DataError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "free some space on the disk"),
        (ValueError("Error while serializing: I/O error: No space left on device (os error 28)"), "free some space"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "set a smaller batch_size"),
        (MemoryError(), "MemoryError: ; set a smaller batch_size"),
        (ModuleNotFoundError("No module named 'torch'", name="torch.nn"), "the package torch is missing"),
        (
            PermissionError(errno.EACCES, "Permission denied", "kept/a.json"),
            "cannot use kept/a.json: Permission denied",
        ),
        (KeyError("place"), "KeyError: 'place'; --debug shows where"),
    ],
)
def test_an_error_of_another_library_is_one_line_with_what_to_do(error, words, capsys):
    assert tell(error) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("c3l: ") and words in line


def test_an_error_of_ours_is_told_as_it_is(capsys):
    error = DataError("got the disk, no space left on device")
    error.add_note("in shard 3")
    assert tell(error) == 1
    assert capsys.readouterr().err == "c3l: got the disk, no space left on device (in shard 3)\n"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["run", "--image-root", ""], "--image-root"),
        (["run", "--image-root="], "--image-root"),
        (["run", "--model", ""], "--model"),
        (["run", "", "--image-root", "."], "RUN"),
        (["score", "--data", "", "--image-root", ".", "--out", "o.jsonl"], "--data"),
        (["finetune", "--data", "a.json", "--image-root", ".", "--out", ""], "--out"),
        (["status", ""], "RUN"),
    ],
)
def test_an_empty_value_is_not_the_folder_one_stands_in(arguments, what, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert f"got {what} with an empty value; is a variable of your shell not set?" in capsys.readouterr().err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "model:\n  name: x\n bad: 1\n", "the config a.yaml is not YAML: line 3, column 2: "),
        ("a.yaml", "images:\n\tlimit: 3\n", "is not YAML: line 2, column 1: "),
        ("a.yaml", "- a\n- b\n", "the config a.yaml holds a list, expected lines of YAML such as `seed: 1`"),
        ("a.yaml", "seed=3\n", "the config a.yaml holds only 'seed=3', expected"),
        ("dmeo", None, "did you mean demo?"),
        ("lava", None, "did you mean llava-"),
    ],
)
def test_a_config_that_cannot_be_read_says_where_and_what_was_meant(name, text, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path(name).write_text(text)
    assert main(["run", "--config", name]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert words in line and "<unicode string>" not in line


def test_a_name_that_the_terminal_cannot_show_is_escaped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert main(["init", "\N{SNOWMAN}.yaml"]) == 0
    sys.stdout.flush()
    assert b"model in \\u2603.yaml" in sys.stdout.buffer.getvalue()


def test_a_closed_stderr_is_no_failure_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["status", "nothing"]) == 1
    sys.stderr.close()


def test_where_nobody_can_be_asked_clean_says_what_to_add(tmp_path, monkeypatch, capsys):
    (tmp_path / "images.jsonl").touch()
    (tmp_path / "config.yaml").touch()
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["clean", str(tmp_path)]) == 2
    assert "say --yes where nobody can be asked" in capsys.readouterr().err
