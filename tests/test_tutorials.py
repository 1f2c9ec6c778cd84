"""The tutorials as a reader would follow them: files are written, commands and Python are run, in the page's order.

``builtin`` is replaced by tiny models, so that each page takes seconds; the README's own lines of Python are run with
the built-in model. A block of shell with a title (``title="on a Slurm cluster"``) belongs elsewhere and is not run; a
block of another language with a title is the file of that name.
"""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from c3l.cli.main import main
from chat_server import completion, serve
from tiny_models import write_scripted

ROOT = Path(__file__).parent.parent
TUTORIALS = sorted((ROOT / "docs/tutorials").glob("*.md"))
PAGES = [*TUTORIALS, ROOT / "docs/python.md"]
PAIRS = "".join(f"Question {n}: What is thing {n}?\nAnswer {n}: It is red.\n" for n in (1, 2, 3))
NEEDS = {"tune-and-evaluate": "trl", "a-server": "openai", "make-a-dataset": "pyarrow", "score-a-dataset": "torch"}
LOOKS = {"check", "score"}  # of these the model has to see the image

_FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


class Block(NamedTuple):
    language: str
    title: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    for language, more, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        title = _TITLE.search(more)
        yield Block(language, title[1] if title else "", text)


def lines(text: str) -> Iterator[list[str]]:
    """The words of every command of c3l, over continued lines; what installs is left to the reader."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] not in ("pip", "export"):
            assert words[0] == "c3l", f"`{line}` cannot be run; give its block a title"
            yield words[1:]


@pytest.fixture(scope="module")
def models(tmp_path_factory, copy_tiny) -> tuple[Path, Path]:
    """A model that writes pairs, blind to any image, and one that sees."""
    folder = tmp_path_factory.mktemp("tutorial_models")
    return write_scripted(folder / "writes", PAIRS), copy_tiny("llava", folder / "sees")


@pytest.fixture
def place(tmp_path: Path, own_cache: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader works in, with three of the example images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples/images").mkdir(parents=True)
    for name in ("horse", "parrot", "temple"):
        shutil.copy(ROOT / f"examples/images/{name}.jpg", tmp_path / "examples/images")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_can_be_followed(page: Path, place: Path, models: tuple[Path, Path]) -> None:
    pytest.importorskip(NEEDS.get(page.stem, "torch"))
    writes, sees = map(str, models)
    spoken, ran = {"__name__": "__main__"}, 0
    with serve(lambda number: completion(PAIRS)) as server:
        for language, title, text in blocks(page):
            if language == "python":
                exec(compile(text.replace('"builtin"', repr(writes)), page.name, "exec"), spoken)
            elif title and language != "sh":
                (place / title).write_text(text, encoding="utf-8")
            elif not title and language == "sh":
                for words in lines(text.replace("http://localhost:8000/v1", server.url)):
                    model = sees if words[0] in LOOKS else writes
                    assert main([re.sub(r"\bbuiltin$", model, word) for word in words]) == 0, words
                    ran += 1
            ran += language == "python"
    assert ran >= 2


def test_no_two_pages_make_the_same_run_in_python() -> None:
    """Their settings differ, so who follows all pages would be refused."""
    made = [name for page in PAGES for name in re.findall(r'c3l\.make\(.*run="([^"]+)"', page.read_text("utf-8"))]
    assert len(made) >= 3
    assert len(set(made)) == len(made)


def test_a_command_that_cannot_be_run_is_found() -> None:
    with pytest.raises(AssertionError, match="give its block a title"):
        list(lines("c3l run\nvllm serve MODEL"))
    assert list(lines("pip install c3l\nc3l run \\\n  --run a  # all of it")) == [["run", "--run", "a"]]


@pytest.mark.slow
def test_the_readmes_python_says_what_it_prints(capfd: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    [text] = [block.text for block in blocks(ROOT / "README.md") if block.language == "python"]
    exec(compile(text, "README.md", "exec"), {})
    [expected] = re.findall(r"print\(.*\)  # (.+)", text)
    printed = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert printed == pytest.approx(json.loads(expected), abs=0.02), "another processor rounds otherwise"
