"""Whole commands on a disk that fails at any of their steps: started again, they end as if nothing had happened."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL.Image import Image

from c3l.evaluation.statistics import resample
from c3l.jobs import finetune as finetune_job
from c3l.jobs import score as score_job
from c3l.jobs.evaluate import evaluate_files
from c3l.jobs.finetune import finetune_files
from c3l.jobs.score import score_file
from c3l.models.tunable import Conversation
from c3l.progress import SilentProgress
from c3l.records import Provenance
from c3l.run import tune_stage
from c3l.settings.evaluation import BenchmarkConfig
from c3l.settings.load import load_config
from c3l.settings.schema import RunConfig
from c3l.storage import atomic
from c3l.storage.atomic import atomic_folder
from c3l.training.contrastive import Tuning
from c3l.training.finetuning import FinetuningStep
from fakes import FakeModel, fake_weights, write_fake_model
from runs import Loader, draw_pictures, make_config, walk
from storage.crashes import MODES, crash_everywhere, crash_here_and_there

Work = Callable[[Path], None]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures, a data set, a benchmark and a model folder that is only ever hashed."""
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(score_job, "CHUNK_ROWS", 2)
    monkeypatch.setattr("c3l.evaluation.scores.resample", partial(resample, draws=20))
    draw_pictures(tmp_path / "pictures", 2)
    write_fake_model(tmp_path / "model")
    rows = [
        {"id": number, "image": image, "conversations": [{"from": "human", "value": "<image>\nWhat?"},
                                                         {"from": "gpt", "value": f"Thing {number}."}]}
        for number, image in enumerate(["picture_0.png", "gone.png", "picture_1.png"])
    ]  # fmt: skip
    (tmp_path / "data.json").write_text(json.dumps(rows))
    asked = [
        {"question_id": number, "image": f"picture_{number}.png", "text": "Is there a dog?", "label": "yes"}
        for number in range(2)
    ]
    (tmp_path / "coco_pope_random.json").write_text("\n".join(map(json.dumps, asked)))
    return tmp_path


def configure(world: Path, *overrides: str) -> RunConfig:
    named = [f"model.name={world / 'model'}", "model.dtype=float32", f"images.root={world / 'pictures'}"]
    return load_config(None, [*named, "scoring.no_image=drop", "scoring.form=discounted_likelihood", *overrides])


def score(world: Path, folder: Path) -> None:
    score_file([world / "data.json"], folder / "out.jsonl", configure(world), SilentProgress(), Loader())


def evaluate(world: Path, folder: Path) -> None:
    task = BenchmarkConfig(task="pope", data=(world / "coco_pope_random.json",), image_root=world / "pictures")
    loader = Loader(partial(FakeModel, lambda request: "Yes, there is."))
    evaluate_files(task, folder / "out", configure(world), SilentProgress(), loader)


class FakeLearner:
    """A FinetunableModel that learns nothing and saves a word."""

    provenance = Provenance("fake", "0" * 16, "fake", "float32", "cpu", 0, {})
    takes_system = True
    takes_turns = True

    def batch(self) -> AbstractContextManager[None]:
        return nullcontext()

    def prepare(self, image: Image) -> None:
        pass

    def find_fault(self, conversation: Conversation) -> None:
        return None

    def count_taught(self, conversation: Conversation) -> tuple[int, int]:
        return 3, 0

    def save_adapter(self, folder: Path) -> None:
        (folder / "adapter.safetensors").write_bytes(fake_weights(1))

    def save_merged(self, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(fake_weights(2))


def finetune(world: Path, folder: Path) -> None:
    finetune_files([world / "data.json"], folder / "out", configure(world), SilentProgress())


def learn_nothing(*arguments: Any) -> tuple[Any, ...]:
    return (FinetuningStep(1, 2.0, 1e-4, 1.0, 0.5),)


def run(world: Path, folder: Path) -> None:
    """Two rounds of shards, a tuning, and what follows."""
    settings = ("rounds=1", "shard_size=1", "generation.pairs_per_image=3")
    walk(make_config(folder, world / "pictures", world / "model", *settings), Loader())


def tune_nothing(context: Any, folder: Path, texts: Any, round: int) -> Any:
    """The last steps of a tuning, in the order of the real one."""
    for name in (tune_stage.ADAPTER, tune_stage.MERGED):
        if not (folder / name).exists():
            with atomic_folder(folder / name) as temporary:
                (temporary / "model.safetensors").write_bytes(fake_weights(3))
    return Tuning(len(texts), 0, 1, (), ()), [], FakeModel().provenance


UNLIKE = ("seconds", "loading_seconds")  # no two are the same


def read_all(folder: Path) -> dict[str, Any]:
    """Every file; of JSON what does not hang on the clock or on the folder's name."""
    return {
        path.relative_to(folder).as_posix(): _read(path, folder)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "report.html") and "report" not in path.parts
    }


def _read(path: Path, folder: Path) -> Any:
    text = path.read_bytes()
    if path.name in ("stage.json", "finetune.json"):
        content = json.loads(text)
        content.get("recorded", {}).pop("shards_timed", None)
        for name in UNLIKE:
            content.pop(name, None)
            content.get("recorded", {}).pop(name, None)
        return content
    return text.replace(str(folder).encode(), b"")


@pytest.fixture
def judge(tmp_path: Path) -> Callable[[Work], Callable[[Path], list[str]]]:
    """Says what differs from an uninterrupted command: lost, twice, torn, left over."""

    def compare_with(work: Work) -> Callable[[Path], list[str]]:
        work(tmp_path / "whole")
        whole = read_all(tmp_path / "whole")

        def differences(folder: Path) -> list[str]:
            found = read_all(folder)
            return [f"{name} differs" for name in sorted({*whole, *found}) if whole.get(name) != found.get(name)]

        return differences

    return compare_with


@pytest.fixture
def use_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    from c3l.jobs import score, score_state
    from c3l.storage import journal, lock

    def use(disk: Callable[..., Any]) -> None:
        for module in (atomic, journal, lock, score, score_state):
            monkeypatch.setattr(module, "durable", disk)

    return use


def told(found: Iterator[list[str]]) -> tuple[int, list[str]]:
    """How many crashes there were, and all that was wrong after them."""
    violations = list(found)
    return len(violations), [what for one in violations for what in one]


@pytest.mark.parametrize("command", [score, evaluate])
def test_a_command_stopped_at_any_step_ends_as_if_it_had_not_been(world, tmp_path, judge, use_disk, command) -> None:
    work = partial(command, world)
    crashes, wrong = told(crash_everywhere(work, judge(work), tmp_path / "crashes", use_disk))
    assert wrong == []
    assert crashes >= 100


def test_a_finetuning_stopped_at_any_step_ends_as_if_it_had_not_been(
    world, tmp_path, judge, use_disk, monkeypatch
) -> None:
    monkeypatch.setattr(finetune_job, "load_finetunable", lambda *_: FakeLearner())
    monkeypatch.setattr("c3l.training.finetuning.finetune", learn_nothing)
    work = partial(finetune, world)
    crashes, wrong = told(crash_everywhere(work, judge(work), tmp_path / "crashes", use_disk, MODES[::3]))
    assert wrong == []
    assert crashes >= 60


def test_a_whole_run_stopped_here_and_there_ends_as_if_it_had_not_been(
    world, tmp_path, judge, use_disk, monkeypatch
) -> None:
    monkeypatch.setattr(tune_stage, "_tune", tune_nothing)
    work = partial(run, world)
    crashes, wrong = told(crash_here_and_there(work, judge(work), tmp_path / "crashes", use_disk, every=7))
    assert wrong == []
    assert crashes >= len(MODES) * 3
