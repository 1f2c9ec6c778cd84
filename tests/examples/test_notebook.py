"""The notebook, run from top to bottom with the built-in model."""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NUMBER = re.compile(r"[-+]\d\.\d\d")
NOTEBOOK = Path(__file__).parents[2] / "examples/score_your_data.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_and_prints_what_is_kept_of_it() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    shown = [printed(cell) for cell in notebook.cells]
    where = {"metadata": {"path": str(NOTEBOOK.parent)}}
    nbclient.NotebookClient(notebook, timeout=280, kernel_name="python3", resources=where).execute()
    again = [printed(cell) for cell in notebook.cells]
    assert [NUMBER.sub("", text) for text in again] == [NUMBER.sub("", text) for text in shown]
    before, now = (list(map(float, NUMBER.findall("".join(texts)))) for texts in (shown, again))
    assert now == pytest.approx(before, abs=0.02), "another processor rounds otherwise"
    assert len(now) > 20
    assert "parrot There is a parrot." in "".join(shown)


def printed(cell: dict) -> str:
    """What a cell printed or returned, without what it said of its progress."""
    outputs = [one for one in cell.get("outputs", []) if one.get("name") != "stderr"]
    return "".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in outputs)
