"""The documents against the code: what they link to, name, draw and show has to be there.

Each check is a function from a text to its problems, so that two tests can plant every kind of problem
and see it found.
"""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from c3l.data.formats import NOT_TAUGHT
from c3l.data.near_images import NEAR_DUPLICATE
from c3l.settings.schema import RunConfig

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = [
    README,
    *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "studies/LOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
UNFIT = {"control_token_in_text", "too_long"}  # what a model says of a text
WRITING = {
    "unreadable_image",
    "oom",
    "non_finite_logits",
    "too_long",
    "refused",
}  # the other reasons of its file are of reading
OPENING = [f"data/{name}.py" for name in ("decoding", "images", "paths", "roots", "remote")]  # what refuses an image
READING = [
    f"data/{name}.py"
    for name in (
        "beside",
        "formats",
        "flags",
        "choices",
        "jsonrows",
        "media",
        "rejection",
        "shown",
        "turns",
        "webdataset",
    )
]
SHELLS = {"", "sh", "bash", "shell", "console"}

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(<?([^)\s>]+)|\ssrc(?:set)?=\"([^\"]+)\"")
_NAMED_LINK = re.compile(r"\[`([\w.]+)`\]\(([^)#\s]+\.py)\)")
_NODE = re.compile(r"([\w./-]+\.py)::(\w+)")
_REPOSITORY_PATH = re.compile(r"`((?:src|tests|docs|configs|studies|examples|benchmarks|\.ci)/[\w./-]*)`")
_SETTING = re.compile(r"`(model|images|generation|scoring|selection|contrastive|filtering|export)\.(\w+)[`:]")
_MAKE = re.compile(r"`make ([a-z]+)`|^(?:\$ )?make ([a-z]+)", re.MULTILINE)
_COMMAND = re.compile(r"^(?:\$ )?(?:\w+=\S+ )*(?:\S*/)?c3l (.+)$")
_REASON_ROW = re.compile(r"^\| `(\w+)` \| `(\w+)` \|", re.MULTILINE)


@pytest.fixture(params=DOCUMENTS, ids=lambda path: path.name)
def document(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_every_link_leads_somewhere(document: Path) -> None:
    assert not list(find_bad_links(document.read_text(encoding="utf-8"), document))


def test_every_name_that_links_to_code_is_defined_there(document: Path) -> None:
    assert not list(find_undefined_names(document.read_text(encoding="utf-8"), document))


def test_every_test_path_setting_and_make_target_that_is_named_exists(document: Path) -> None:
    assert not list(find_missing_places(document.read_text(encoding="utf-8")))


def test_every_path_in_the_readmes_tree_exists() -> None:
    text = README.read_text(encoding="utf-8")
    assert "── " in text, "the README draws no tree"
    assert not list(find_missing_branches(text))


def test_every_command_that_is_shown_is_accepted(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert document != README or list(commands(text)), "the README shows no command"
    assert not list(find_bad_commands(text))


def test_every_module_that_is_to_be_run_is_there(document: Path) -> None:
    named = re.findall(r"python -m ((?:studies|benchmarks)[\w.]*)", document.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name.replace(".", "/")).with_suffix(".py").exists()] == []


def test_the_constraints_pin_every_requirement_as_any_index_has_it() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert not [version for version in pins.values() if "+" in version], "a local version is on no public index"
    project = read_project()
    required = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    pinned = {name.lower().replace("_", "-") for name in pins}
    assert {re.split(r"[\[=>]", one)[0].lower() for one in required} <= pinned


def test_the_page_on_installing_says_what_each_extra_is_for() -> None:
    text = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    extras = set(read_project()["optional-dependencies"])
    told = re.search(r"^\| extra \|.*?\n\n", text, re.MULTILINE | re.DOTALL)
    assert told is not None
    assert set(re.findall(r"^\| `(\w+)`", told[0], re.MULTILINE)) == extras - {"study", "docs", "dev"}, (
        "those are `make`'s"
    )
    for page in (text, README.read_text(encoding="utf-8")):
        installed = re.findall(r"pip install '\.\[([\w,]+)\]'", page)
        assert installed
        assert set(",".join(installed).split(",")) <= extras


def test_the_dockerfile_installs_extras_that_there_are() -> None:
    found = re.search(r"^ARG EXTRAS=([\w,]+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert set(found[1].split(",")) <= set(read_project()["optional-dependencies"])


def read_project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def test_the_table_of_reasons_is_whole() -> None:
    rows = _REASON_ROW.findall((ROOT / "docs/method.md").read_text(encoding="utf-8"))
    assert len(rows) == len(set(rows))
    told: dict[str, set[str]] = {}
    for stage, reason in rows:
        told.setdefault(stage, set()).add(reason)
    assert told == {
        "images": set().union(*map(reasons_in, OPENING)) | {NEAR_DUPLICATE},
        "generation": WRITING & reasons_in("method/generation.py"),
        "parsing": reasons_in("method/pair_checks.py") | reasons_in("method/generation.py") - WRITING,
        "scoring": reasons_in("method/scoring.py") | UNFIT | {"several_images"},
        "selection": {"one_pair"},
        "filtering": {"outside_RULE"},
        "tuning": UNFIT,
        "finetuning": {"no_supervised_token", "several_turns"} | UNFIT,  # and those of `images`
        "data": set().union(*map(reasons_in, READING)) | {"bad_path", "bad_json", "bad_earlier_turn", NOT_TAUGHT},
    }


def test_a_planted_problem_of_every_kind_is_found() -> None:
    assert list(find_bad_links("[a](no/such.md) and [b](#nowhere)", README)) == ["no/such.md", "#nowhere"]
    assert list(find_bad_links("[b](docs/method.md#nowhere)", README)) == ["docs/method.md#nowhere"]
    assert list(find_undefined_names("[`no_such`](src/c3l/records/samples.py)", README)) == ["no_such"]
    assert list(find_undefined_names("[`Sample.no_such`](src/c3l/records/samples.py)", README)) == ["Sample.no_such"]
    places = "`tests/test_docs.py::test_no_such`, `src/c3l/no_such.py`, `scoring.nothing`, `make nothing`"
    assert list(find_missing_places(places)) == [
        "tests/test_docs.py::test_no_such",
        "src/c3l/no_such.py",
        "scoring.nothing",
        "make nothing",
    ]
    tree = (
        "```\ndocs/\n├── method.md   the method\n├── no.md   nothing\nsrc/c3l/\n└── data/\n    └── no.py   nothing\n```"
    )
    assert list(find_missing_branches(tree)) == ["docs/no.md", "src/c3l/data/no.py"]
    rooted = "```\nc3l/\n├── README.md\n├── docs/\n│   ├── method.md\n│   └── no.md\n└── Makefile\n```"
    assert list(find_missing_branches(rooted)) == ["docs/no.md"]


def test_a_planted_command_is_found() -> None:
    shown = "```bash\nc3l --help\nc3l run --nosuch 1 \\\n  --neither=2\nc3l nosuch\n```"
    assert list(find_bad_commands(shown)) == ["c3l run --nosuch", "c3l run --neither", "c3l nosuch"]


# --- links, names, places --------------------------------------------------------------------------------


def without_fences(text: str) -> str:
    return _FENCE.sub("", text)


def targets(text: str) -> Iterator[str]:
    """Where every link and picture points that does not leave the repository."""
    for link, source in _LINK.findall(without_fences(text)):
        if not re.match(r"[a-z]+:", link or source):
            yield link or source


def find_bad_links(text: str, document: Path) -> Iterator[str]:
    for target in targets(text):
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        there = path.exists() and path.is_relative_to(ROOT)
        if there and anchor and path.suffix == ".md":
            there = anchor in anchors(text if path == document else path.read_text(encoding="utf-8"))
        if not there:
            yield target


def anchors(text: str) -> set[str]:
    """The headings as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", without_fences(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def find_undefined_names(text: str, document: Path) -> Iterator[str]:
    for name, target in _NAMED_LINK.findall(text):
        path = (document.parent / target).resolve()
        if path.exists() and not name.endswith(".py") and name not in definitions(path):
            yield name


def find_missing_places(text: str) -> Iterator[str]:
    """Tests, paths, settings and targets that are named and not there."""
    for path, name in _NODE.findall(text):
        if not (ROOT / path).exists() or name not in definitions(ROOT / path):
            yield f"{path}::{name}"
    for path in _REPOSITORY_PATH.findall(text):
        if not (ROOT / path).exists():
            yield path
    for section, key in _SETTING.findall(text):
        if key not in {"jsonl", *type(getattr(RunConfig(), section)).model_fields}:
            yield f"{section}.{key}"
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for quoted, typed in _MAKE.findall(text):
        if (quoted or typed) not in known:
            yield f"make {quoted or typed}"


@cache
def definitions(path: Path) -> frozenset[str]:
    """The functions, classes, methods (as Class.method) and constants of a file."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        for target in getattr(node, "targets", [getattr(node, "target", None)]):
            if isinstance(target, ast.Name):
                names.add(target.id)
    return frozenset(names)


# --- the tree --------------------------------------------------------------------------------------------


def find_missing_branches(text: str) -> Iterator[str]:
    """Paths of drawn trees that are not there; trees of run folders are not of the repository."""
    for _, block in _FENCE.findall(text):
        if "── " in block and not block.startswith("runs/"):
            yield from (path for path in branches(block) if not (ROOT / path).exists())


def branches(tree: str) -> Iterator[str]:
    """A name a line, above what hangs below it; a first line that is no path is the repository itself."""
    above: list[tuple[int, str]] = []
    for number, line in enumerate(tree.splitlines()):
        name = re.match(r"[\s│├└─]*(\S+)", line)
        if name is None or not name[1].strip("│├└─"):
            continue
        column, part = name.start(1), name[1].rstrip("/")
        while above and above[-1][0] >= column:
            above.pop()
        if number == 0 and not (ROOT / part).exists():
            above.append((column, ""))
            continue
        path = f"{above[-1][1]}/{part}".lstrip("/") if above else part
        above.append((column, path))
        yield path


# --- commands --------------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[list[str]]:
    """The words after `c3l` in every shell block."""
    for language, block in _FENCE.findall(text):
        lines = block.replace("\\\n", " ").splitlines() if language in SHELLS else []
        for shown in filter(None, map(_COMMAND.match, lines)):
            yield shlex.split(shown[1], comments=True)


def find_bad_commands(text: str) -> Iterator[str]:
    """Verbs and options that are shown after `c3l` and that it does not have."""
    for words in commands(text):
        yield from check_command(words)


def check_command(words: list[str]) -> Iterator[str]:
    from typer.main import get_command
    from typer.testing import CliRunner

    app = find_app()
    command: Any = get_command(app)
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb:
        if CliRunner().invoke(app, [verb, "--help"]).exit_code != 0:
            yield f"c3l {verb}"
            return
        command = getattr(command, "commands", {}).get(verb, command)
    parameters = [*get_command(app).params, *command.params]  # --debug may stand anywhere
    known = {"--help", *(name for it in parameters for name in (*it.opts, *it.secondary_opts))}
    for word in words:
        option = word.partition("=")[0]
        if re.match(r"--?[a-zA-Z]", option) and option.replace("_", "-") not in known:
            yield f"c3l {verb} {option}"


def find_app() -> Any:
    import typer

    import c3l.cli.main

    return next(value for value in vars(c3l.cli.main).values() if isinstance(value, typer.Typer))


# --- reasons ---------------------------------------------------------------------------------------------


def reasons_in(path: str) -> set[str]:
    """The reason words of a module: what it raises, returns or assigns as the reason of a rejection."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / "src/c3l" / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            place = {"BadImageError": 0, "BadRowError": 0, "BadRow": 1, "_reject": 1, "_reject_job": 1}.get(
                node.func.id
            )
            if place is not None and len(node.args) > place:
                found |= words_of(node.args[place])
        elif isinstance(node, ast.Return | ast.Assign) and isinstance(node.value, ast.Tuple):
            if len(node.value.elts) == 2:  # a reason and its detail
                found |= words_of(node.value.elts[0])
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "reason":
            found |= words_of(node.value)
    return found


def words_of(node: ast.expr) -> set[str]:
    if isinstance(node, ast.IfExp):
        return words_of(node.body) | words_of(node.orelse)
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
        return {node.value}
    return set()
