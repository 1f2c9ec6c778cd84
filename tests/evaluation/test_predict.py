"""Asking a model: order, blind answers, failures, and that batches change nothing."""

import math
from dataclasses import replace

import pytest
from PIL import Image

from c3l.errors import DataError
from c3l.evaluation.predict import predict
from c3l.evaluation.scores import was_blind
from c3l.evaluation.task import Item, Prediction
from c3l.models.interface import Completion, Pair, ScoreRequest
from c3l.records import from_json
from fakes import FakeModel
from scores import score_rows
from tiny_models import make_picture, try_out

pytestmark = pytest.mark.usefixtures("tried_once")

PICTURES = {f"{n}.png": make_picture(n) for n in range(3)}
ASKED = [Item(f"q{n}", f"{n // 2}.png", "Is it?" + "!" * n) for n in range(6)]
COMPARED = [Item("c0", "0.png", "What is it?", ("a dog", "an old cat", "x"))]


def open_item_image(name: str) -> Image.Image:
    if name not in PICTURES:
        raise DataError(f"unreadable_file: cannot read {name}")
    return PICTURES[name]


def ask(model, items, batch_size=4, blind=True):
    return list(predict(items, model, open_item_image, max_new_tokens=6, batch_size=batch_size, blind=blind))


@pytest.fixture(params=["llava", "qwen2_vl"])
def model(request, tiny):
    family = tiny(request.param)
    return try_out(family)


def test_answers_come_in_order_and_batches_change_nothing(model):
    made = ask(model, [*ASKED, *COMPARED])
    assert [one.item_id for one in made] == [item.item_id for item in (*ASKED, *COMPARED)]
    for size in (1, 3):
        others = ask(model, [*ASKED, *COMPARED], batch_size=size)
        assert [(a.text, a.blind_text) for a in made] == [(b.text, b.blind_text) for b in others]
        assert others[-1].likelihoods == pytest.approx(made[-1].likelihoods, abs=1e-4)


def test_questions_about_one_picture_share_it_and_are_answered_as_one_by_one(model, monkeypatch):
    encoded, encode_all = [], model._vision.encode_all
    compared = [Item(f"c{n}", f"{n // 2}.png", f"What is {n}?", ("a dog", "an old cat")) for n in range(4)]
    alone = [one for item in (*ASKED, *compared) for one in ask(model, [item], batch_size=1)]
    monkeypatch.setattr(model._vision, "encode_all", lambda these: encoded.extend(these) or encode_all(these))
    together = ask(model, [*ASKED, *compared], batch_size=8)
    assert len(encoded) == 3 + 2
    assert [(one.text, one.blind_text) for one in together] == [(one.text, one.blind_text) for one in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.likelihoods == pytest.approx(other.likelihoods, abs=1e-4)
        assert one.blind_likelihoods == pytest.approx(other.blind_likelihoods, abs=1e-4)


def test_a_batch_holds_whole_pictures():
    fake = FakeModel()
    ask(fake, ASKED, batch_size=3, blind=False)
    assert fake.batches == [2, 2, 2]


def test_a_prompt_is_asked_blind_once_whatever_the_picture():
    fake, items = FakeModel(), [Item(f"q{n}", f"{n}.png", ("Is it?", "Was it?")[n // 2]) for n in range(3)]
    made = ask(fake, items, batch_size=1)
    assert [request.prompt for request in fake.generated if request.image is None] == ["Is it?", "Was it?"]
    assert made[0].blind_text == made[1].blind_text != made[2].blind_text
    known = list(
        predict(items, fake, open_item_image, max_new_tokens=6, batch_size=1, blind=True, told={"Is it?": "Said."})
    )
    assert [one.blind_text for one in known] == ["Said.", "Said.", made[2].blind_text]


def test_the_picture_matters_and_blind_answers_do_not_see_it(model):
    here, there = (ask(model, [Item("c", f"{n}.png", "What is it?", ("a dog", "a cat"))])[0] for n in (0, 1))
    assert here.likelihoods != pytest.approx(there.likelihoods, abs=1e-3)
    assert here.blind_likelihoods == pytest.approx(there.blind_likelihoods, abs=1e-6)
    assert here.blind_likelihoods != pytest.approx(here.likelihoods, abs=1e-3)


def test_likelihoods_are_means_over_a_choices_tokens(model):
    [made] = ask(model, COMPARED)
    pairs = tuple(Pair(text, COMPARED[0].prompt, text) for text in COMPARED[0].choices)
    [scores] = score_rows(model, [ScoreRequest(PICTURES["0.png"], pairs)], "drop")
    means = [sum(one.logprobs_with_image) / len(one.token_ids) for one in scores]
    assert made.likelihoods == pytest.approx(means, abs=1e-5)


def test_a_picture_that_does_not_open_fails_its_questions_only():
    made = ask(FakeModel(), [ASKED[0], Item("bad", "gone.png", "Is it?"), ASKED[2]])
    assert [bool(one.failed) for one in made] == [False, True, False]
    assert "gone.png" in made[1].failed


def test_what_does_not_fit_alone_is_a_failure_with_its_reason():
    made = ask(FakeModel(capacity=0), ASKED[:2])
    assert all("out of memory" in one.failed for one in made)


def test_without_blind_nothing_is_asked_twice():
    fake = FakeModel()
    made = ask(fake, ASKED, blind=False)
    assert len(fake.generated) == len(ASKED)
    assert {one.blind_text for one in made} == {None}
    assert made[0].without_image().text == ""


@pytest.mark.parametrize(
    ("written", "text", "raw", "failed"),
    [
        ("Yes.", "Yes.", "", False),
        ("<think>no</think>\n\nYes.", "Yes.", "<think>no</think>\n\nYes.", False),
        ("<think>no, no", "", "<think>no, no", True),
        ("<think>no</think>", "", "<think>no</think>", True),
        ("", "", "", False),
    ],
)
def test_an_answer_is_what_stands_behind_its_thoughts(written, text, raw, failed):
    [made] = ask(FakeModel(write=lambda request: written), ASKED[:1])
    assert (made.text, made.blind_text, made.raw, made.blind_raw) == (text, text, raw, raw)
    assert (bool(made.failed), bool(made.blind_failed)) == (failed, failed)


@pytest.mark.parametrize("written", ["", " \n"])
def test_an_answer_without_a_word_is_none_where_its_tokens_were_used_up(written):
    ended, cut = (ask(FakeModel(lambda request: written, reason), ASKED[:1])[0] for reason in ("stop", "length"))
    assert (ended.text, ended.failed, ended.blind_failed) == (written, "", "")
    assert cut.failed == cut.blind_failed == "its tokens were used up before an answer; raise evaluation.max_new_tokens"


def test_a_blind_answer_that_ends_inside_its_thought_fails_the_blind_figures_alone():
    fake = FakeModel(write=lambda request: "<think>I do not see" if request.image is None else "Yes.")
    [made] = ask(fake, ASKED[:1])
    assert (made.text, made.failed) == ("Yes.", "")
    assert "inside a thought" in made.without_image().failed


def test_what_the_model_cannot_be_shown_is_a_failure_with_its_reason(tiny):
    family = tiny("llava")
    real = try_out(family)
    items = [Item("c", "0.png", "What is it?", ("a dog", "a<s>b")), Item("long", "0.png", "Is it " * 500)]
    made = ask(real, [*items, *ASKED[:1], Item("spelled", "0.png", "Is <s> it?")])
    assert made[0].failed.startswith("control_token_in_text") and made[1].failed.startswith("too_long")
    assert [(one.failed, one.respelled) for one in made[2:]] == [("", ""), ("", "<s>")]


@pytest.mark.parametrize("blind_only", [True, False])
def test_numbers_that_are_not_finite_are_a_failure(blind_only):
    class Breaking(FakeModel):
        def generate(self, requests, sampling):
            made = super().generate(requests, sampling)
            broken = [request.image is None or not blind_only for request in requests]
            return [
                replace(one, finish_reason="non_finite_logits") if bad else one
                for one, bad in zip(made, broken, strict=True)
            ]

    [made] = ask(Breaking(), ASKED[:1])
    assert "not finite" in made.blind_failed
    assert bool(made.failed) is not blind_only
    assert bool(ask(Breaking(), ASKED[:1], blind=False)[0].failed) is not blind_only
    assert "not finite" in made.without_image().failed


def test_an_answer_counts_as_it_does_alone_where_its_blind_one_is_refused():
    class Refusing(FakeModel):
        def generate(self, requests, sampling):
            refused = [replace(one, text="", finish_reason="refused") for one in super().generate(requests, sampling)]
            return [no if it.image is None else Completion(it.request_id, "Yes", "stop")
                    for it, no in zip(requests, refused, strict=True)]  # fmt: skip

    [seen], [both] = ask(Refusing(), ASKED[:1], blind=False), ask(Refusing(), ASKED[:1])
    assert (seen.text, seen.failed) == (both.text, both.failed) == ("Yes", "")
    assert both.without_image().failed.startswith("refused")
    assert was_blind({"q0": both}) and not was_blind({"q0": seen})


@pytest.mark.parametrize("broken", ["with", "without"])
def test_a_choice_without_a_finite_likelihood_fails_on_its_side_alone(broken):
    class Breaking(FakeModel):
        def score(self, requests, no_image):
            side = f"logprobs_{broken}_image"
            return {
                name: replace(one, **{side: (math.nan,) * len(one.token_ids)})
                for name, one in super().score(requests, no_image).items()
            }

    [made] = ask(Breaking(), COMPARED)
    assert bool(made.failed) is (broken == "with")
    assert bool(made.likelihoods) is (broken == "without")
    assert "not finite" in made.without_image().failed


def test_a_prediction_of_before_is_read():
    assert from_json(Prediction, '{"item_id":"q","text":"Yes","failed":""}') == Prediction("q", "Yes")
