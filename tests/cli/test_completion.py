"""Shell completion: commands, options and the names of settings, in a real bash too, and nothing heavy is loaded."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from c3l.settings.describe import list_sections

KEYS = [it.key for section in list_sections() for it in section.settings if "[]" not in it.key]


def complete(shell, line, code="import sys; from c3l.cli.main import main; sys.exit(main([]))"):
    """What the shell is offered for the last word of a line."""
    words = line.split(" ")
    variables = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
    }
    environment = os.environ | {"_C3L_COMPLETE": f"complete_{shell}"} | variables[shell]
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_commands_and_options_are_completed():
    assert complete("bash", "c3l pre") == ["preview"]
    assert set(complete("bash", "c3l ")) >= {"run", "init", "preview", "settings", "status"}
    assert complete("bash", "c3l run --dr") == ["--dry-run"]
    assert complete("bash", "c3l run --see") == ["--seed"]


def test_the_names_of_settings_are_completed_in_every_command_that_takes_them():
    assert complete("bash", "c3l run --set scoring.o") == ["scoring.others="]
    assert complete("bash", "c3l finetune --set finetuning.taught") == ["finetuning.taught_share="]
    assert complete("bash", "c3l check --seed 1 --set ") == [f"{key}=" for key in KEYS]
    assert complete("bash", "c3l run --set nothing.like.it") == [""]
    [offered] = complete("zsh", "c3l run --set scoring.oth")
    assert '"scoring.others=":"m, images averaged in the ' in offered


def test_completing_a_setting_loads_nothing_heavy():
    code = "import sys; from c3l.cli.main import main; main([]); print(*sys.modules)"
    *offered, loaded = complete("bash", "c3l run --set scoring.o", code)
    assert offered == ["scoring.others="]
    assert "pydantic" in loaded.split()
    assert not set(loaded.split()) & {"torch", "transformers", "numpy", "PIL", "yaml"}


@pytest.fixture
def installed(tmp_path):
    """An environment with a command `c3l` in its path and a home of its own, in which completion was installed."""
    command = tmp_path / "bin/c3l"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m c3l "$@"\n')
    command.chmod(0o755)
    environment = os.environ | {"PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    asked = environment | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # else the shell that runs the tests
    subprocess.run([command, "--install-completion", "bash"], env=asked, capture_output=True, check=True)
    return environment


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_bash_that_it_was_installed_in_completes(installed):
    script = """
        source ~/.bashrc
        COMP_WORDS=(c3l run --set scoring.o); COMP_CWORD=3
        "$(complete -p c3l | sed 's/.*-F \\([^ ]*\\).*/\\1/')" c3l
        echo "${COMPREPLY[@]}"
    """
    told = subprocess.run(["bash", "-c", script], env=installed, capture_output=True, text=True, check=False)
    assert told.stdout.split() == ["scoring.others="], told.stderr
    assert Path(installed["HOME"], ".bashrc").exists()
