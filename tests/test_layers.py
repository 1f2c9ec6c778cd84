"""Who may import whom: CONTRIBUTING has the table, and its arrows go down only."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import c3l

ROOT = Path(c3l.__file__).parent
GUIDE = Path(__file__).parents[1] / "CONTRIBUTING.md"
LOOSE = {"__init__", "__main__", "errors", "progress"}  # the only modules that stand in no room

_ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \|([^|]*)\|$", re.MULTILINE)

FORBIDDEN = {  # room -> packages that it never imports, not even inside a function
    "method": {"transformers", "peft"},
    "data": {"torch", "transformers"},
    "report": {"torch", "transformers"},
    "evaluation": {"torch", "transformers"},
    "storage": {"torch", "transformers", "PIL"},
    "records": {"torch", "transformers", "PIL"},
    "markup": {"torch", "transformers", "PIL"},
    "settings": {"torch", "transformers", "PIL"},
    "cli": {"torch", "transformers"},
}


def read_table(text: str) -> dict[str, set[str]]:
    """Room -> what it may import of c3l, besides itself; the highest room first."""
    table = text[text.index("## Who may import whom") : text.index("## How to add")]
    return {room: set(re.findall(r"`([\w.]+)`", cells)) for room, cells in _ROW.findall(table)}


ALLOWED = read_table(GUIDE.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> tuple[str, ...]:
    """All that a file names to be imported, inside functions too."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found += (f"{node.module}.{name.name}" for name in node.names)
    return tuple(found)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def is_within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


FILES = sorted(ROOT.rglob("*.py"))
IN_ROOMS = [path for path in FILES if room_of(path) not in {"__init__", "__main__"}]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_table_has_every_room_and_no_other() -> None:
    assert set(ALLOWED) == {room_of(path) for path in IN_ROOMS}
    assert {path.stem for path in ROOT.glob("*.py")} == LOOSE


def test_the_table_points_down_only() -> None:
    rooms = list(ALLOWED)
    for place, room in enumerate(rooms):
        assert {name.split(".")[0] for name in ALLOWED[room]} <= set(rooms[place + 1 :]), room


@pytest.mark.parametrize("path", IN_ROOMS, ids=name_of)
def test_a_module_imports_what_the_table_allows(path: Path) -> None:
    room = room_of(path)
    for name in imports(path):
        if name.startswith("c3l."):
            inner = name.removeprefix("c3l.")
            assert any(is_within(inner, other) for other in {*ALLOWED[room], room}), f"{room} imports {name}"


def test_the_table_allows_nothing_that_no_module_needs() -> None:
    used = {room: set[str]() for room in ALLOWED}
    for path in IN_ROOMS:
        used[room_of(path)] |= {name.removeprefix("c3l.") for name in imports(path) if name.startswith("c3l.")}
    spare = {
        f"{room} -> {other}"
        for room, others in ALLOWED.items()
        for other in others
        if not any(is_within(name, other) for name in used[room])
    }
    assert not spare


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_packages_stay_in_their_rooms(path: Path) -> None:
    for package in FORBIDDEN.get(room_of(path), set()):
        assert not [name for name in imports(path) if is_within(name, package)]


@pytest.mark.parametrize("path", [path for path in FILES if room_of(path) == "models"], ids=name_of)
def test_transformers_is_known_to_its_backend_and_the_built_in_model_alone(path: Path) -> None:
    if path.parent.name not in {"hf", "builtin"}:
        assert not [name for name in imports(path) if is_within(name, "transformers")]


def loaded_after(module: str) -> set[str]:
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_command_line_imports_nothing_slow() -> None:
    loaded = loaded_after("c3l.cli.main")
    assert "typer" in loaded
    assert not loaded & {"torch", "transformers", "numpy", "PIL", "pydantic", "rich.console", "yaml"}


def test_the_list_of_settings_imports_nothing_slow() -> None:
    code = "from c3l.cli.main import main; assert main(['settings']) == 0; import sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.splitlines()[-1].split())
    assert "pydantic" in loaded
    assert not loaded & {"torch", "transformers", "numpy", "PIL", "rich.console", "yaml"}


def test_the_pipeline_imports_no_torch() -> None:
    loaded = loaded_after("c3l.run.pipeline, c3l.jobs.score, c3l.run.checks, c3l.cli.tables")
    assert not loaded & {"torch", "transformers"}
