"""A command of the study that lacks something says so in a line before it begins, and how to get it."""

import os
import sys
from pathlib import Path

import pytest

from studies.picture_world import (
    align,
    benchmarks,
    benefit,
    evaluate,
    fetch,
    needs,
    own_words,
    prepare,
    probe,
    serve_judge,
    study,
    things,
    train,
)

MAINS = (fetch, things, prepare, own_words, align, train, evaluate, study, benefit, benchmarks, serve_judge, probe)
FOLDERS = {own_words: 1, align: 1, train: 1, evaluate: 1, study: 1, benefit: 2, benchmarks: 1, serve_judge: 1, probe: 1}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder of programs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def told(module: object, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as caught:
        module.main()  # type: ignore[attr-defined]
    assert isinstance(caught.value.code, str) and "\n" not in caught.value.code
    return caught.value.code


def install(folder: Path, *names: str, script: str = "exit 0") -> None:
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize("module", MAINS, ids=lambda module: module.__name__.rpartition(".")[2])
def test_without_a_world_the_commands_that_make_it_are_named(
    module: object, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if module is not fetch:
        install(programs, "rsvg-convert")
    line = told(module, monkeypatch, "world", *["out"] * FOLDERS.get(module, 0))  # type: ignore[call-overload]
    if module is fetch:
        assert "`apt-get install apt dpkg librsvg2-bin`" in line
    else:
        assert "`python -m studies.picture_world.fetch world" in line
    assert os.listdir(tmp_path) == ["programs"], "nothing was begun"


def test_things_needs_what_turns_drawings_into_pixels(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "`apt-get install librsvg2-bin`" in told(things, monkeypatch, "world")


def test_a_client_without_lists_of_packages_is_told_what_to_do(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(programs, "rsvg-convert", "dpkg")
    install(programs, "apt-get", script="echo 'E: Unable to locate package x' >&2; exit 100")
    line = told(fetch, monkeypatch, str(tmp_path / "world"))
    assert "Unable to locate package x" in line and "`apt-get update`" in line and "goes on" in line


def test_each_further_step_names_the_one_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("world/features").mkdir(parents=True)
    Path("world/things.jsonl").touch()
    assert "`python -m studies.picture_world.prepare world`" in told(align, monkeypatch, "world", "out")
    Path("world/features/000.npy").touch()
    assert "001.npy" in told(train, monkeypatch, "world", "out", "--chunks", "2")
    begun = ["world", "out", "--chunks", "1", "--connector", "out/connector.safetensors"]
    assert "`python -m studies.picture_world.align world out`" in told(train, monkeypatch, *begun)
    assert "`python -m studies.picture_world.align world out`" in told(probe, monkeypatch, "world", "out")
    assert "`python -m studies.picture_world.study world out`" in told(benefit, monkeypatch, "world", "out", "end")
    assert "`python -m studies.picture_world.benchmarks world out`" in told(serve_judge, monkeypatch, "world", "out")


def test_a_module_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"scikit-image and matplotlib is not installed: `make \.venv/c3l-dev`"):
        needs.need_modules("skimage", "matplotlib")


def test_a_folder_that_another_model_or_catalogue_filled_is_left_alone(tmp_path: Path) -> None:
    world, out = tmp_path / "world", tmp_path / "out"
    world.mkdir()
    (world / "things.jsonl").write_text("{}")
    needs.need_same_origin(out, world, "model_a")
    (out / "figures.json").touch()
    needs.need_same_origin(out, world, "model_a")
    with pytest.raises(SystemExit, match="take another folder"):
        needs.need_same_origin(out, world, "model_b")
    (world / "things.jsonl").write_text("other names")
    with pytest.raises(SystemExit, match="take another folder"):
        needs.need_same_origin(out, world, "model_a")
    with pytest.raises(SystemExit, match="take another folder"):
        needs.need_same_origin(world, world, "model_a")  # it holds files, and nobody knows whose
