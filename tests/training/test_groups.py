"""From contrastive groups to batches: the texts, the held-out part, and where each candidate stands."""

from threading import Barrier
from types import SimpleNamespace

import pytest
import torch

from c3l.method.batching import THREADS
from c3l.method.parsing import find_pairs
from c3l.method.prompts import InstructionTemplate
from c3l.models.interface import Unfit
from c3l.records import ContrastiveGroup, ImageRef, Sample
from c3l.settings.tuning import ContrastiveConfig
from c3l.training.contrastive import count_steps
from c3l.training.groups import GroupCollator, GroupDataset, count_held_out, hold_out, sort_out, write_groups
from tiny_models import make_picture
from training.tiny_groups import SHORT, make_group, make_groups, make_lvlm, open_item_image

TEMPLATES = {
    parser: InstructionTemplate(parser, 1, parser, f"Write {{k}} pairs as {parser}.")
    for parser in ("numbered", "json", "lines")
}
IMAGES = {name: ImageRef(name, f"{name}.png", "", 8, 8) for name in ("i", "j")}


def sample(sample_id, instruction="numbered", image="i"):
    return Sample(sample_id, image, instruction, f"What is {sample_id}?", f"A {sample_id}.", 0, 0)


@pytest.mark.parametrize(
    ("parser", "expected"),
    [
        ("numbered", "Question 1: What is b?\nAnswer 1: A b."),
        ("json", '[{"question": "What is b?", "answer": "A b."}'),
        ("lines", "What is b? | A b."),
    ],
)
def test_prompt_and_completions_are_those_of_the_positives_instruction(parser, expected):
    # the negatives were written for another instruction; what differs must be what they say and not their form
    samples = {name: sample(name, "json" if parser != "json" else "lines") for name in "ac"}
    samples["b"] = sample("b", parser)
    [group] = write_groups([ContrastiveGroup("i", "b", ("c", "a"))], samples, IMAGES, TEMPLATES, 5)
    assert group.image == IMAGES["i"]
    assert group.prompt == f"Write 5 pairs as {parser}."
    assert group.completions[0] == expected
    found = [find_pairs(text, parser) for text in group.completions]
    assert [[(pair.question, pair.answer) for pair in pairs] for pairs in found] == [
        [(f"What is {name}?", f"A {name}.")] for name in "bca"
    ]


def test_groups_keep_their_order_and_each_its_picture():
    samples = {name: sample(name, image=image) for name, image in zip("abcd", "jjii", strict=True)}
    groups = write_groups(
        [ContrastiveGroup("j", "a", ("b",)), ContrastiveGroup("i", "d", ("c",))], samples, IMAGES, TEMPLATES, 2
    )
    assert [group.image.image_id for group in groups] == ["j", "i"]
    assert [len(group.completions) for group in groups] == [2, 2]


def test_several_images_are_opened_at_once_and_groups_are_sorted_out_in_their_order():
    together, groups = Barrier(THREADS, timeout=200), make_groups(THREADS)
    prepared = []

    def open_together(image):
        together.wait()
        return make_picture(int(image.image_id))

    def find_fault(rows):
        assert any(rows[0].image is one for one in prepared)
        return Unfit("too_long", rows[0].completion) if rows[0].completion in ("Yes 0.", "Yes 2.") else None

    model = SimpleNamespace(prepare=prepared.append, find_fault=find_fault)
    fit, rejected = sort_out(model, groups, open_together)
    assert fit == [group for group in groups if group.image.image_id not in ("0", "2")]
    assert [(one.id, one.stage, one.reason, one.detail) for one in rejected] == [
        ("0", "tuning", "too_long", "0.png: Yes 0."), ("2", "tuning", "too_long", "2.png: Yes 2."),
    ]  # fmt: skip


def test_held_out_groups_are_a_stable_choice_and_not_trained_on():
    groups = make_groups(40)
    train, held = hold_out(groups, 0.25, seed=3)
    assert (len(train), len(held)) == (30, 10)
    assert sorted([*train, *held], key=groups.index) == groups
    assert train == sorted(train, key=groups.index)
    assert hold_out(groups[::-1], 0.25, seed=3) == (train[::-1], held[::-1])
    assert hold_out(groups, 0.25, seed=4)[1] != held
    assert set(map(id, hold_out(groups, 0.1, seed=3)[1])) < set(map(id, held))


@pytest.mark.parametrize(
    ("groups", "share", "expected"),
    [(0, 0.5, 0), (1, 0.9, 0), (2, 0.9, 1), (4, 0.1, 0), (5, 0.1, 1), (5, 0.0, 0), (30, 0.1, 3), (10, 0.99, 9)],
)
def test_so_many_are_held_out_and_never_all(groups, share, expected):
    assert count_held_out(groups, share) == expected
    train, held = hold_out(make_groups(groups), share, seed=0)
    assert (len(train), len(held)) == (groups - expected, expected)
    steps = count_steps(groups, ContrastiveConfig(held_out=share, batch_size=1))
    assert steps == groups - expected


def test_a_batch_says_where_each_candidate_of_each_group_stands(tiny):
    groups = [make_group(1, 2), make_group(2, 1), make_group(3, 3)]
    opened = []
    lvlm = make_lvlm(tiny("llava"), ContrastiveConfig(**SHORT))
    batch = GroupCollator(lvlm, lambda image: opened.append(image.image_id) or open_item_image(image))(groups)
    assert opened == ["1", "2", "3"]
    assert batch["candidates"].tolist() == [[0, 1, 2, 0], [3, 4, 3, 3], [5, 6, 7, 8]]
    assert batch["valid"].tolist() == [[True, True, True, False], [True, True, False, False], [True] * 4]
    assert batch["candidates"].dtype == torch.int64
    assert sorted(batch["rows"]["shown"].tolist()) == [0, 1, 2]
    ids = batch["rows"]["text"]["input_ids"].flatten()[batch["rows"]["places"]]
    shown = lvlm._encoder.decode_completion(ids[5][batch["rows"]["in_completion"][5]].tolist())
    assert shown == groups[2].completions[0]


def test_a_data_set_is_its_groups_by_number():
    groups = make_groups(3)
    data = GroupDataset(groups)
    assert len(data) == 3
    assert [data[place] for place in range(3)] == groups
