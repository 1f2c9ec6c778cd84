"""Images are processed once, in advance where other threads were told of them, and always in the same way."""

import gc
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Any

import pytest
import torch

from c3l.models.hf import processed
from c3l.models.hf.encoding import ChatEncoder
from tiny_models import FAMILIES, make_picture


class Watched:
    """An image processor of a family that tells in which order it looked at images."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.seen = inner, []

    def __call__(self, images: Any, *given: Any, **more: Any) -> Any:
        self.seen.append(images)
        return self.inner(images, *given, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def make(family: Any) -> tuple[ChatEncoder, Watched]:
    watched = Watched(family.processor.image_processor)
    processor = copy(family.processor)
    processor.image_processor = watched
    return ChatEncoder(processor), watched


def same(one: Any, other: Any) -> bool:
    return one.ids == other.ids and all(torch.equal(value, other.vision[key]) for key, value in one.vision.items())


@pytest.mark.parametrize("name", FAMILIES)
def test_what_other_threads_prepared_is_what_the_prompt_would_have(name, tiny):
    encoder, watched = make(tiny(name))
    pictures = [make_picture(number, (40 + 8 * number, 30)) for number in range(6)]
    with encoder.batch():
        encoder.encode_prompt("Is it?", pictures[0])  # how this family is called
    before = len(watched.seen)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(encoder.prepare, pictures[1:]))
    assert len(watched.seen) == before + 5
    with encoder.batch():
        found = [encoder.encode_prompt("What is it?", picture) for picture in pictures[1:]]
        assert len(watched.seen) == before + 5, "none again"
    for one, picture in zip(found, pictures[1:], strict=True):
        assert same(one, ChatEncoder(tiny(name).processor).encode_prompt("What is it?", picture))
    assert not same(found[0], found[1])  # the picture matters


def test_before_an_image_was_shown_nothing_is_prepared_and_what_fails_is_told_where_it_is_shown(tiny):
    encoder, watched = make(tiny("llava"))
    encoder.prepare(make_picture(1))
    assert not watched.seen
    with encoder.batch():
        encoder.encode_prompt("Is it?", make_picture(0))
    broken: Any = object()
    encoder.prepare(broken)
    with encoder.batch(), pytest.raises((TypeError, ValueError)):
        encoder.encode_prompt("Is it?", broken)


def test_another_way_of_looking_is_not_answered_by_what_was_prepared(tiny):
    encoder, watched = make(tiny("llava"))
    looking, picture = encoder._processed, make_picture(1)
    with encoder.batch():
        encoder.encode_prompt("Is it?", make_picture(0))
        looking.prepare(picture)
        depth, (given, more) = looking._how
        assert depth == 2
        plain = looking([[picture]], *given, **more | {"do_normalize": False})["pixel_values"]
    assert len(watched.seen) == 3 and float(plain.max()) <= 1 and float(plain.min()) >= 0


def test_what_nobody_comes_for_makes_room(tiny, monkeypatch):
    encoder, _ = make(tiny("llava"))
    pictures = [make_picture(number) for number in range(5)]
    with encoder.batch():
        size = encoder.encode_prompt("Is it?", pictures[0]).vision["pixel_values"].nbytes
    looking = encoder._processed
    looking._room = 2 * size
    for picture in pictures[1:]:
        encoder.prepare(picture)
    assert [entry[0]() for entry in looking._ahead.values()] == pictures[3:]
    with encoder.batch():
        encoder.encode_prompt("Is it?", pictures[4])
    assert looking._room == size
    assert processed._ROOM > 100 * 2**20


def test_what_was_prepared_goes_with_an_image_that_nobody_holds(tiny):
    """As that of a row whose texts are bad, which is not shown."""
    encoder, watched = make(tiny("llava"))
    with encoder.batch():
        encoder.encode_prompt("Is it?", make_picture(0))
    held = make_picture(1)
    for picture in (held, make_picture(2)):
        encoder.prepare(picture)
    del picture, watched.seen[:]
    gc.collect()
    looking = encoder._processed
    [(of, _, output)] = looking._ahead.values()
    assert of() is held
    assert looking._room == processed._ROOM - output["pixel_values"].nbytes
