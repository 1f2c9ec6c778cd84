"""What mkdocs does to a page of docs/ so that it reads on the website as it does in the repository.

Links out of docs/, to code and to other documents, lead to pages that hold these files; formulas become MathML, which
browsers show without a script.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
FOLDER = "repository"  # of the website: the pages of files that lie outside of docs/

_LINK = re.compile(r"(\]\(<?)([^)\s>#]+)")
_BLOCK = re.compile(r"^```math\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE_OR_FORMULA = re.compile(r"(^```.*?^```$|`[^`\n]+`)|\$([^$\n]+)\$", re.MULTILINE | re.DOTALL)
_SEARCHED_NOT = "---\nsearch:\n  exclude: true\n---\n\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file of the repository that a page links to, and for those that these link to."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    texts = {name: Path(config.docs_dir, name).read_text(encoding="utf-8") for name in waiting}
    while waiting:
        name = waiting.pop()
        for target in _find_targets(texts[name], name):
            page = _page_of(target)
            if page in texts or not (ROOT / target).exists() or target.startswith("docs/"):
                continue
            texts[page] = _show(ROOT / target)
            files.append(File.generated(config, page, content=texts[page], inclusion=InclusionLevel.NOT_IN_NAV))
            waiting.append(page)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links and formulas as the website needs them."""
    name = page.file.src_uri
    if not _is_prose(name):
        return markdown
    markdown = _BLOCK.sub(lambda found: _show_formula(found[1].strip()), markdown)
    parts, last = [], 0
    for found in _CODE_OR_FORMULA.finditer(markdown):
        parts.append(_rewrite_links(markdown[last : found.start()], name))
        parts.append(found[1] if found[1] is not None else convert(found[2]))
        last = found.end()
    return "".join([*parts, _rewrite_links(markdown[last:], name)])


def _show_formula(latex: str) -> str:
    """A formula on lines of its own; assets/site.css lets it scroll where it is wider than the page."""
    return f'\n<div class="formula">{convert(latex, display="block")}</div>\n'


def _rewrite_links(text: str, page: str) -> str:
    return _LINK.sub(lambda link: link[1] + _point(link[2], page), text)


def _is_prose(page: str) -> bool:
    """Whether a page is a document, not code or the names in a folder."""
    return Path(_origin_of(page)).suffix in (".md", ".ipynb")


def _find_targets(text: str, page: str) -> list[str]:
    """The files of the repository that a page links to."""
    links = _LINK.findall(text) if _is_prose(page) else []
    return [path for link in links if (path := _resolve(link[1], page))]


def _resolve(link: str, page: str) -> str:
    """The path in the repository that a link of a page leads to; empty where it leads out of it."""
    if re.match(r"[a-z]+:", link):
        return ""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(_origin_of(page)), link))
    return "" if path.startswith("..") else path


def _origin_of(page: str) -> str:
    """The path in the repository of what a page of the website shows."""
    if page.startswith(f"{FOLDER}/"):
        return page.removeprefix(f"{FOLDER}/").removesuffix(".page.md")
    return f"docs/{page}"


def _page_of(path: str) -> str:
    """The page of the website that shows a path of the repository."""
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{FOLDER}/{path}.page.md"


def _point(link: str, page: str) -> str:
    path = _resolve(link, page)
    if not path or not (ROOT / path).exists():
        return link  # strict mode tells
    return posixpath.relpath(_page_of(path), posixpath.dirname(page) or ".")


def _show(path: Path) -> str:
    """A file of the repository as Markdown."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        inside = sorted(one.name + "/" * one.is_dir() for one in path.iterdir() if one.name[0] not in "._")
        return f"{_SEARCHED_NOT}# {name}\n\n" + "".join(f"- `{one}`\n" for one in inside)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    if path.suffix == ".ipynb":
        return _show_notebook(json.loads(text))
    return f"{_SEARCHED_NOT}# {name}\n\n````{path.suffix[1:]}\n{text}\n````\n"


def _show_notebook(notebook: dict[str, Any]) -> str:
    """The cells of a notebook with what they printed."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            printed = output.get("text") or output.get("data", {}).get("text/plain", "")
            parts.append(f"```text\n{''.join(printed)}\n```")
    return "\n\n".join(parts)
