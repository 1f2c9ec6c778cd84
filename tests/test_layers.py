"""Who may import whom: the arrows of the house go down only."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import c3l

ROOT = Path(c3l.__file__).parent

BASE = {"records", "errors", "config", "placeholders", "thoughts"}  # beneath all
ALLOWED = {  # room -> what it may import of c3l, besides itself
    "errors": set(),
    "records": set(),
    "placeholders": set(),
    "thoughts": set(),
    "config": {"records", "errors"},
    "config_list": BASE,
    "config_file": {*BASE, "config_list"},
    "models": BASE,
    "method": {*BASE, "models.interface"},
    "data": BASE,
    "report": {*BASE, "data"},
    "training": {*BASE, "data.atomic", "method", "models.interface"},
    "evaluation": {*BASE, "thoughts", "data", "method.batching", "models.interface"},
    "progress": set(),
    "executors": {*BASE, "models.interface", "models.load"},
    "plan": {*BASE, "data", "method"},
    "context": {*BASE, "config_file", "data", "models.load", "executors", "plan", "progress"},
    "listing": {*BASE, "data", "context"},
    "stages": {*BASE, "data", "method", "models.interface", "executors", "context", "plan"},
    "tuning": {*BASE, "data", "method", "models.interface", "models.load", "training", "context", "stages"},
    "learnable": {*BASE, "data", "models.interface", "training"},
    "weighing": {*BASE, "data", "learnable", "models.interface", "progress"},
    "finetuning": {
        *BASE,
        "data",
        "learnable",
        "models.interface",
        "models.load",
        "training",
        "plan",
        "progress",
        "weighing",
    },
    "learning": {
        *BASE,
        "benchmarking",
        "context",
        "data",
        "evaluation.reading",
        "executors",
        "finetuning",
        "models.interface",
        "models.load",
        "stages",
        "tuning",
    },
    "benchmarking": {*BASE, "data", "models.interface", "models.load", "evaluation", "executors", "plan", "progress"},
    "counts": {*BASE, "config_file", "data", "method", "plan", "report", "stages"},
    "estimates": {*BASE, "data", "method", "progress"},
    "display": {*BASE, "config_file", "data", "counts", "method", "stages", "progress"},
}
ROOMS = {
    "models",
    "method",
    "data",
    "report",
    "executors",
    "plan",
    "context",
    "stages",
    "listing",
    "training",
    "tuning",
    "finetuning",
    "learnable",
    "weighing",
    "evaluation",
    "benchmarking",
    "learning",
    "counts",
    "estimates",
    "progress",
}
TOP = {*BASE, "config_file", *ROOMS}
ALLOWED |= {
    "pipeline": TOP,
    "checks": TOP,
    "score_file": {*TOP, "score_state", "score_summary"},
    "score_summary": {*TOP, "score_state"},
    "score_state": TOP,
    "options": TOP,
    "file_commands": {*TOP, "options"},
}
ALLOWED |= {"cli": {*TOP, "pipeline", "checks", "score_file", "display", "options", "file_commands", "config_list"}}
ALLOWED |= {"__main__": {"cli"}, "__init__": set()}
FORBIDDEN = {  # room -> packages that it never imports, not even inside a function
    "method": {"transformers", "c3l.data", "peft"},
    "data": {"torch", "transformers"},
    "report": {"torch", "transformers"},
    "evaluation": {"torch", "transformers"},
    "records": {"torch", "transformers", "PIL"},
    "placeholders": {"torch", "transformers", "PIL"},
    "config": {"torch", "transformers", "PIL"},
    "config_list": {"torch", "transformers", "PIL", "yaml"},
    "config_file": {"torch", "transformers", "PIL"},
    "cli": {"torch", "transformers"},
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def is_within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


FILES = sorted(ROOT.rglob("*.py"))


def test_there_is_something_to_check():
    assert {room_of(path) for path in FILES} >= {"models", "method", "data", "report", "cli", "pipeline"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_arrows_go_down(path):
    room = room_of(path)
    assert room in ALLOWED, f"{room} is a new room: say above what it may import"
    for name in imports(path):
        if not name.startswith("c3l."):
            continue
        inner = name.removeprefix("c3l.")
        assert any(is_within(inner, other) for other in {*ALLOWED[room], room}), f"{room} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_heavy_packages_stay_in_their_rooms(path):
    for package in FORBIDDEN.get(room_of(path), set()):
        assert not [name for name in imports(path) if is_within(name, package)]


def loaded_after(module: str) -> set[str]:
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_command_line_imports_nothing_slow():
    loaded = loaded_after("c3l.cli")
    assert "typer" in loaded
    assert not loaded & {"torch", "transformers", "numpy", "PIL", "pydantic", "rich.console", "yaml"}


def test_the_list_of_settings_imports_nothing_slow():
    code = "from c3l.cli import main; assert main(['settings']) == 0; import sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.splitlines()[-1].split())
    assert "pydantic" in loaded
    assert not loaded & {"torch", "transformers", "numpy", "PIL", "rich.console", "yaml"}


def test_the_pipeline_imports_no_torch():
    assert not loaded_after("c3l.pipeline, c3l.score_file, c3l.checks, c3l.display") & {"torch", "transformers"}
