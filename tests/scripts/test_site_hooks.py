"""The hooks of the website, on a small repository of their own, with mkdocs' own files and pages."""

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("latex2mathml")

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files, get_files
from mkdocs.structure.pages import Page

HOOKS = Path(__file__).parents[2] / "scripts/site_hooks.py"
TREE = {
    "docs/index.md": "[a](../src/a.py) [notes](../NOTES.md) [all](../src) [here](tutorials/one.md) [far](https://a.org/b.md)",
    "docs/tutorials/one.md": "[a](../../src/a.py), [gone](../../src/gone.py), `[a](../../src/a.py)`",
    "NOTES.md": "[b](src/b.py#L3) and [home](docs/index.md)",
    "src/a.py": "A = 1  # [c](c.py) is no link\n",
    "src/b.py": "B = 2\n",
    "src/c.py": "",
    "src/.hidden": "",
    "book.ipynb": json.dumps(
        {
            "cells": [
                {"cell_type": "markdown", "source": ["# A book, ", "$x$"]},
                {"cell_type": "code", "source": ["print(1)"], "outputs": [{"text": ["1\n"]}]},
            ]
        }
    ),
}


@pytest.fixture
def config(tmp_path: Path) -> MkDocsConfig:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    hooks = tmp_path / "scripts/site_hooks.py"  # it takes the folder above its own for the repository
    hooks.parent.mkdir()
    shutil.copy(HOOKS, hooks)
    folders = {"docs_dir": str(tmp_path / "docs"), "site_dir": str(tmp_path / "site")}
    made = MkDocsConfig()
    made.load_dict({"site_name": "test", "plugins": [], "hooks": [str(hooks)], **folders})
    assert made.validate() == ([], [])
    return made


@pytest.fixture
def files(config: MkDocsConfig) -> Files:
    return config.plugins.on_files(get_files(config), config=config)


def show(name: str, config: MkDocsConfig, files: Files, text: str | None = None) -> str:
    file = files.src_uris[name]
    page = Page(None, file, config)
    read = file.content_string if text is None else text
    return config.plugins.on_page_markdown(read, page=page, config=config, files=files)


def test_each_file_that_is_linked_to_has_a_page_and_so_have_those_that_it_links_to(files: Files) -> None:
    made = {name for name in files.src_uris if name.startswith("repository/")}
    names = ("src/a.py", "src/b.py", "src", "NOTES.md")
    assert made == {f"repository/{name}.page.md" for name in names}, "code links to nothing, what is missing is left"


def test_a_link_leads_to_the_page_of_its_file_from_wherever_it_stands(config: MkDocsConfig, files: Files) -> None:
    assert show("index.md", config, files) == (
        "[a](repository/src/a.py.page.md) [notes](repository/NOTES.md.page.md) [all](repository/src.page.md) "
        "[here](tutorials/one.md) [far](https://a.org/b.md)"
    )
    assert show("repository/NOTES.md.page.md", config, files).endswith("[home](../index.md)")


def test_code_and_links_to_nothing_stay_as_they_are(config: MkDocsConfig, files: Files) -> None:
    assert show("tutorials/one.md", config, files) == (
        "[a](../repository/src/a.py.page.md), [gone](../../src/gone.py), `[a](../../src/a.py)`"
    )


def test_a_page_of_code_is_a_fence_that_is_not_searched_and_a_folder_is_a_list(
    config: MkDocsConfig, files: Files
) -> None:
    code = show("repository/src/a.py.page.md", config, files)
    assert "exclude: true" in code and code.endswith(f"````py\n{TREE['src/a.py']}\n````\n")
    folder = show("repository/src.page.md", config, files)
    assert folder.endswith("# src\n\n- `a.py`\n- `b.py`\n- `c.py`\n")


def test_formulas_become_mathml_and_code_with_dollars_does_not(config: MkDocsConfig, files: Files) -> None:
    text = "Let $p_t$ be, as `$HOME`.\n\n```math\n\\frac{1}{N}\n```\n\n```sh\necho $A $B\n```\n"
    shown = show("index.md", config, files, text)
    assert shown.count("<math") == 2 and "<mfrac>" in shown and 'display="block"' in shown and "p_t" not in shown
    assert '<div class="formula"><math' in shown, "what the style sheet lets scroll"
    assert "`$HOME`" in shown and "```sh\necho $A $B\n```" in shown


def test_a_notebook_is_shown_with_what_it_printed(config: MkDocsConfig) -> None:
    Path(config.docs_dir, "index.md").write_text("[book](../book.ipynb)", encoding="utf-8")
    files = config.plugins.on_files(get_files(config), config=config)
    shown = show("repository/book.ipynb.page.md", config, files)
    assert "# A book, <math" in shown
    assert shown.endswith("```python\nprint(1)\n```\n\n```text\n1\n\n```")
