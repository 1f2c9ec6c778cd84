"""Which rows can be taught: images are opened ahead, outcomes come in the order of the rows, one for each."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from PIL.Image import Image

from c3l.errors import BadImageError
from c3l.jobs import learnable
from c3l.jobs.learnable import read_learnable
from c3l.method.batching import AHEAD, THREADS
from c3l.models.interface import Unfit
from c3l.models.tunable import Conversation
from c3l.settings.load import load_config
from tiny_models import make_picture


class Looker:
    """As much of a ``FinetunableModel`` as rows are looked at with."""

    takes_system = True

    def __init__(self) -> None:
        self.prepared: list[Image] = []
        self.inside = False

    @contextmanager
    def batch(self) -> Iterator[None]:
        self.inside = True
        yield
        self.inside = False

    def prepare(self, image: Image) -> None:
        self.prepared.append(image)

    def find_fault(self, conversation: Conversation) -> Unfit | None:
        assert self.inside, "the image would be processed twice"
        assert conversation.image is None or any(conversation.image is one for one in self.prepared)
        return Unfit("too_long", "by far") if "long" in conversation.turns[0][1] else None

    def count_taught(self, conversation: Conversation) -> tuple[int, int]:
        assert self.inside, "the image would be processed twice"
        return 3, int("cut" in conversation.turns[0][1])


def write(folder: Path, rows: dict[str, str]) -> Path:
    """Rows that answer a question about the image of their name, or about none."""
    data = [
        {"id": name, **({} if name.startswith("text") else {"image": f"{name}.png"}),
         "conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": answer}]}
        for name, answer in rows.items()
    ]  # fmt: skip
    (folder / "data.json").write_text(json.dumps(data))
    return folder / "data.json"


def read(data: Path, lvlm: Any, advance: Any = lambda count: None) -> Any:
    return read_learnable([data], load_config(None, [f"images.root={data.parent}"]), lvlm, advance)


def test_several_images_are_opened_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = Barrier(THREADS, timeout=200)
    monkeypatch.setattr(learnable, "open_image", lambda *_: make_picture(together.wait()))
    learned, _ = read(write(tmp_path, {f"r{n}": "Yes." for n in range(THREADS)}), Looker())
    assert len(learned) == THREADS


def test_outcomes_come_in_the_order_of_the_rows_whichever_image_is_open_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = Event()

    def open_image(root: Path, image: str, rules: Any) -> Image:
        if image == "a.png":
            assert third.wait(200)
        if image == "c.png":
            third.set()
        if image.startswith("gone"):
            raise BadImageError("missing_image", f"{image} is not there")
        return make_picture(0)

    monkeypatch.setattr(learnable, "open_image", open_image)
    rows = {"a": "A long one.", "gone1": "Yes.", "c": "Yes.", "none": "", "text": "A cut one.", "gone2": "long"}
    told: list[int] = []
    learned, rejected = read(write(tmp_path, rows), Looker(), told.append)
    assert {place: (row.id, row.noted) for place, row in learned.items()} == {
        2: ("c", ()), 4: ("text", ("text_only", "cut")),
    }  # fmt: skip
    assert [(one.id, one.reason, one.detail) for one in rejected if one.id != "none"] == [
        ("a", "too_long", "by far"),
        ("gone1", "missing_image", "gone1.png is not there"),
        ("gone2", "missing_image", "gone2.png is not there"),
    ]
    assert [one.id for one in rejected] == ["a", "gone1", "none", "gone2"]
    assert told == [1] * 6


def test_no_more_images_are_open_than_a_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, told, most = [], [], []

    def open_image(*_: Any) -> Image:
        opened.append(1)
        return make_picture(0)

    def advance(count: int) -> None:
        told.append(count)
        most.append(len(opened) - len(told))

    monkeypatch.setattr(learnable, "open_image", open_image)
    read(write(tmp_path, {f"r{n}": "Yes." for n in range(5 * AHEAD)}), Looker(), advance)
    assert len(told) == 5 * AHEAD
    assert max(most) <= AHEAD + 1
