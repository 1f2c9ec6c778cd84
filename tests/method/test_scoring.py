"""The scoring stage with a fake model, in milliseconds."""

import logging
import math
import time
from dataclasses import replace

import pytest
from PIL import Image

from c3l.errors import BackendError, BadImageError, OutOfMemoryError
from c3l.method.other_images import ImageSource, count_others, draw_pool, tell_few_others
from c3l.method.scoring import rescore, score_samples
from c3l.records import AnswerScores, ImageRef, Rejected, Sample, ScoredPair
from c3l.run import plan
from c3l.run.plan import make_plan
from c3l.settings.schema import RunConfig, ScoringConfig

IDS = [f"i{n}" for n in range(6)]
IMAGES = {image_id: ImageRef(image_id, f"{image_id}.png", "", 8, 8) for image_id in IDS}


def make_sample(name, image_id, answer="a dog"):
    return Sample(name, image_id, "conversation", f"What about {name}?", answer, 0, 0)


SAMPLES = [make_sample(f"s{image_id}{k}", image_id) for k in range(2) for image_id in IDS]


class FakeModel:
    """Scores from the texts and pictures alone, so that batches cannot matter; keeps what it was asked."""

    provenance, takes_system, takes_turns = None, True, True

    def __init__(self, fits=100, modes=("drop", "others", "noise"), words=10_000):
        self.words, self.prepared = words, []
        self.fits, self.modes, self.requests, self.batches = fits, frozenset(modes), [], []

    def no_image_modes(self):
        return self.modes

    def prepare_scores(self, request, no_image):
        self.prepared.append(request.image)

    def find_control_token(self, text):
        return "<|im_end|>" if "<|im_end|>" in text else None

    def score(self, requests, no_image):
        assert len({len(request.others) for request in requests}) == 1, "as many others for all, as backends expect"
        self.batches.append(len(requests))
        words = sum(len(pair.completion.split()) for request in requests for pair in request.pairs)
        if len(requests) > self.fits or words > self.words:
            raise OutOfMemoryError("did not fit")
        self.requests += requests
        return {pair.pair_id: self.answer(request, pair) for request in requests for pair in request.pairs}

    def answer(self, request, pair):
        words = pair.completion.split()
        numbers = [-float(len(word) + len(pair.prompt) + sum(request.image.getpixel((0, 0)))) for word in words]
        blind = [number - 1.0 for number in numbers]
        if "nan" in words:
            blind[words.index("nan")] = math.nan
        ids = tuple(range(len(words)))
        return AnswerScores(ids, tuple(words), tuple(numbers), tuple(blind), (0.5,) * len(words))


def open_image(ref):
    return Image.new("RGB", (8, 8), (int(ref.image_id[1:]), 0, 0))


def run(samples=SAMPLES, model=None, open_image=open_image, pool=IDS, seed=0, **config):
    model = model or FakeModel()
    config = ScoringConfig(**{"no_image": "drop", "form": "discounted_likelihood"} | config)
    return list(score_samples(samples, ImageSource(IMAGES, open_image, pool), model, config, seed))


def test_one_outcome_a_sample_in_the_order_of_the_samples():
    outcomes = run(batch_size=4, form="log_ratio")
    assert [it.sample for it in outcomes] == SAMPLES
    assert {it.i2c for it in outcomes} == {1.0}
    assert {(it.form, it.no_image) for it in outcomes} == {("log_ratio", "drop")}


def test_all_pairs_of_an_image_are_one_request():
    model = FakeModel()
    run(model=model, batch_size=4)
    assert model.batches == [4, 2]
    assert [[pair.pair_id for pair in it.pairs] for it in model.requests] == [
        [f"s{image_id}0", f"s{image_id}1"] for image_id in IDS
    ]


def test_results_come_while_later_batches_are_still_to_do():
    model = FakeModel()
    samples = sorted(SAMPLES, key=lambda it: it.image_id)
    outcomes = score_samples(samples, ImageSource(IMAGES, open_image, IDS), model, ScoringConfig(batch_size=1), 0)
    next(outcomes)
    assert len(model.batches) == 1


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.parametrize("no_image", ["drop", "others", "noise"])
def test_batch_size_and_order_change_nothing(batch_size, no_image):
    model, other = FakeModel(), FakeModel()
    first = run(model=model, batch_size=batch_size, no_image=no_image)
    second = run(SAMPLES[::-1], model=other, batch_size=2, no_image=no_image)
    assert second[::-1] == first
    assert others_of(model) == others_of(other)
    assert {of(it): it.seed for it in model.requests} == {of(it): it.seed for it in other.requests}


def of(request):
    return request.image.getpixel((0, 0))[0]


def others_of(model):
    return {of(it): [other.getpixel((0, 0))[0] for other in it.others] for it in model.requests}


def test_each_of_the_others_is_opened_once_though_threads_open_them():
    opened = []

    def open_slowly(ref):
        opened.append(ref.image_id)
        time.sleep(0.01)
        return open_image(ref)

    run(open_image=open_slowly, no_image="others", others=1)
    assert len(opened) == len(IDS) + 2  # each for itself, and two that stand for no image


def test_others_are_different_pictures_of_the_run_and_never_the_image_itself():
    model = FakeModel()
    run(model=model, no_image="others", others=3)
    for image, others in others_of(model).items():
        assert image not in others
        assert len(set(others)) == 3
    # one order for all, less the image itself: so they are encoded once, and rows share what they begin with
    assert len({others[0] for others in others_of(model).values()}) == 2
    shown = {id(other) for request in model.requests for other in request.others}
    assert len(shown) == 4, "opened once, however many images they stand for"


def test_others_follow_the_seed_and_not_the_order_of_the_pool():
    first, shuffled, reseeded = FakeModel(), FakeModel(), FakeModel()
    run(model=first, no_image="others", others=2)
    run(model=shuffled, no_image="others", others=2, pool=IDS[::-1])
    run(model=reseeded, no_image="others", others=2, seed=1)
    assert others_of(first) == others_of(shuffled)
    assert others_of(first) != others_of(reseeded)


def test_where_there_are_fewer_other_pictures_than_wanted_all_of_them_stand_and_it_is_told():
    model = FakeModel()
    run([SAMPLES[0]], model=model, no_image="others", others=4, pool=IDS[:4])
    [shown] = others_of(model).values()
    assert len(set(shown)) == 3
    config = ScoringConfig(no_image="others", others=4)
    assert [count_others(config, pictures) for pictures in (2, 4, 5, 99)] == [1, 3, 4, 4]
    assert tell_few_others(config, 4).startswith("each image is compared with 3 others, not with scoring.others=4")
    assert tell_few_others(config, 2).startswith("each image is compared with 1 other,")
    assert tell_few_others(config, 5) == tell_few_others(ScoringConfig(no_image="drop"), 1) == ""


def test_beside_a_single_picture_stands_a_grey_one_which_is_told():
    model = FakeModel()
    run([SAMPLES[0]], model=model, no_image="others", others=4, pool=IDS[:1])
    [request] = model.requests
    assert [(other.size, other.getpixel((0, 0))) for other in request.others] == [((8, 8), (128, 128, 128))]
    assert tell_few_others(ScoringConfig(no_image="others"), 1).startswith("there is no other image to compare with")


@pytest.mark.parametrize("copies", [("i1",), ("i1", "i2", "i3", "i4")])
def test_a_copy_under_another_name_does_not_stand_for_its_image(copies):
    opens = lambda ref: open_image(IMAGES["i0"] if ref.image_id in copies else ref)  # noqa: E731
    model, plain = FakeModel(), FakeModel()
    run(model=model, open_image=opens, no_image="others", others=4)
    shown = others_of(model)
    assert all(image not in others for image, others in shown.items())
    assert shown[0] == [int(name[1:]) for name in draw_order() if name not in ("i0", *copies)]
    # those without a copy get what they got
    run(model=plain, no_image="others", others=4)
    assert shown[5] == [0 if f"i{other}" in copies else other for other in others_of(plain)[5]]


def draw_order():
    return draw_pool(IDS, ScoringConfig(no_image="others"), 0)


def test_where_all_others_are_copies_a_grey_one_stands_and_it_is_told_once(caplog):
    model = FakeModel()
    with caplog.at_level(logging.WARNING):
        run(model=model, open_image=lambda ref: open_image(IMAGES["i0"]), no_image="others", batch_size=1)
    assert others_of(model) == {0: [128]}
    assert [record.message[:50] for record in caplog.records] == ["of the images drawn to stand for no image none ope"]


SETS = {"i0+i1": ("i0", "i1"), "i2+i3+i4": ("i2", "i3", "i4")}


def run_sets(model, open_image=open_image, pool=IDS, **config):
    samples = [replace(make_sample("pair", "i0+i1"), question="Is <image> like <image>?"), SAMPLES[5]]
    samples += [make_sample("three", "i2+i3+i4"), make_sample("pair too", "i0+i1")]
    source = ImageSource(IMAGES, open_image, pool, SETS)
    return list(score_samples(samples, source, model, ScoringConfig(**{"no_image": "others"} | config), 0))


def look(shown):
    return tuple(f"i{one.getpixel((0, 0))[0]}" for one in (shown if isinstance(shown, tuple) else (shown,)))


class SetModel(FakeModel):
    """As above, of several pictures too; ``<image>`` steers its chats."""

    def find_control_token(self, text):
        return "<image>" if "<image>" in text else None

    def answer(self, request, pair):
        return super().answer(replace(request, image=Image.new("RGB", (1, 1))), pair)


def test_samples_about_several_pictures_get_as_many_others_none_of_their_own():
    model = SetModel()
    outcomes = run_sets(model, others=3)
    assert [type(it) for it in outcomes] == [ScoredPair] * 4
    asked = {look(request.image): request for request in model.requests}
    assert set(asked) == {("i0", "i1"), ("i5",), ("i2", "i3", "i4")}
    assert [pair.pair_id for pair in asked[("i0", "i1")].pairs] == ["pair", "pair too"]
    order = draw_pool(IDS, ScoringConfig(no_image="others", others=3), 0, 3)
    free = [one for one in order if one not in ("i0", "i1")]
    assert [look(one) for one in asked[("i0", "i1")].others] == [(free[n], free[n + 1]) for n in range(3)]
    few = [one for one in order if one not in SETS["i2+i3+i4"]]
    assert [look(one) for one in asked[("i2", "i3", "i4")].others] == [
        tuple(few[(turn + place) % 3] for place in range(3)) for turn in range(3)
    ]
    assert [look(one) for one in asked[("i5",)].others] == [(one,) for one in order if one != "i5"][:3]


def test_beside_the_pictures_of_a_set_alone_stand_grey_ones_of_their_sizes():
    model = SetModel()
    sizes = {"i0": (8, 9), "i1": (10, 8)}
    opens = lambda ref: open_image(ref).resize(sizes.get(ref.image_id, (8, 8)))  # noqa: E731
    run_sets(model, opens, pool=["i0", "i1"])
    [request] = [one for one in model.requests if look(one.image) == ("i0", "i1")]
    assert [[(one.size, one.getpixel((0, 0))) for one in shown] for shown in request.others] == [
        [((8, 9), (128, 128, 128)), ((10, 8), (128, 128, 128))]
    ]


def test_a_set_of_which_a_picture_does_not_open_is_rejected_and_no_other():
    def fail_on_third(ref):
        if ref.image_id == "i3":
            raise BadImageError("truncated_image", "half a file")
        return open_image(ref)

    outcomes = run_sets(SetModel(), fail_on_third, no_image="drop")
    assert [getattr(it, "reason", "") for it in outcomes] == ["", "", "unreadable_image", ""]
    assert outcomes[2].detail == "truncated_image: half a file"


def test_samples_about_several_pictures_are_halved_where_they_do_not_fit():
    model = SetModel(words=3)
    outcomes = run_sets(model, no_image="drop")
    assert [type(it) for it in outcomes] == [ScoredPair] * 4
    assert [len(one.pairs) for one in model.requests if look(one.image) == ("i0", "i1")] == [1, 1]


def test_what_a_long_pool_may_show_is_what_a_short_one_of_it_shows():
    config, first, second = ScoringConfig(no_image="others", others=2), FakeModel(), FakeModel()
    drawn = draw_pool(IDS, config, 0)
    assert drawn == draw_pool(IDS[::-1], config, 0) and draw_pool(IDS, ScoringConfig(no_image="drop"), 0) == []
    run(model=first, no_image="others", others=2)
    run(model=second, no_image="others", others=2, pool=drawn)
    assert others_of(first) == others_of(second)


def test_others_that_do_not_open_are_left_out():
    def open_some(ref):
        if ref.image_id not in ("i0", "i3"):
            raise BadImageError("truncated_image", "half a file")
        return open_image(ref)

    for opens, pixels in (
        (open_some, [(3, 0, 0)]),
        (lambda ref: open_some(replace(ref, image_id="i0")), [(128, 128, 128)]),
    ):
        model = FakeModel()
        [outcome] = run([SAMPLES[0]], model=model, open_image=opens, no_image="others", others=4)
        assert isinstance(outcome, ScoredPair)
        assert [other.getpixel((0, 0)) for other in model.requests[0].others][:1] == pixels


def test_other_modes_open_no_other_picture():
    opened = []
    run(open_image=lambda ref: opened.append(ref.image_id) or open_image(ref))
    assert sorted(opened) == IDS


def test_another_picture_that_does_not_open_is_replaced():
    def fail_on_third(ref):
        if ref.image_id == "i3":
            raise BadImageError("truncated_image", "half a file")
        return open_image(ref)

    model = FakeModel()
    outcomes = run(model=model, open_image=fail_on_third, no_image="others", others=4)
    rejected = [it for it in outcomes if isinstance(it, Rejected)]
    assert [(it.id, it.reason, it.detail) for it in rejected] == [
        (name, "unreadable_image", "truncated_image: half a file") for name in ("si30", "si31")
    ]
    assert all(len(others) == 4 and 3 not in others for others in others_of(model).values())


def test_where_few_others_open_those_among_them_have_fewer_and_all_are_scored():
    ids = [f"i{number}" for number in range(20)]
    order = draw_pool(ids, ScoringConfig(no_image="others", others=2), 0)
    outside = next(one for one in ids if one not in order)
    opens = {order[0], order[1], outside}

    def open_few(ref):
        if ref.image_id not in opens:
            raise BadImageError("missing_image", "not there")
        return open_image(ref)

    refs = {one: ImageRef(one, one, "", 8, 8) for one in ids}
    samples, model = [make_sample(f"s{one}", one) for one in ids], FakeModel()
    config = ScoringConfig(no_image="others", others=2, batch_size=20, form="discounted_likelihood")
    outcomes = list(score_samples(samples, ImageSource(refs, open_few, ids), model, config, 0))
    assert {it.sample.image_id for it in outcomes if isinstance(it, ScoredPair)} == opens
    assert {it.image_id for it in outcomes if isinstance(it, Rejected)} == {*ids} - opens
    assert sorted(len(request.others) for request in model.requests) == [1, 1, 2]


@pytest.mark.parametrize("answer", ["", "  \n"])
def test_an_empty_answer_is_rejected_before_the_model_sees_it(answer):
    model = FakeModel()
    samples = [SAMPLES[0], make_sample("empty", "i0", answer), make_sample("lonely", "i5", answer)]
    outcomes = run(samples, model=model)
    assert [type(it) for it in outcomes] == [ScoredPair, Rejected, Rejected]
    assert {it.reason for it in outcomes[1:]} == {"empty_answer"}
    assert [len(it.pairs) for it in model.requests] == [1]


def test_a_question_that_spells_a_control_token_is_rejected_before_the_model_sees_it():
    model = FakeModel()
    samples = [replace(SAMPLES[0], question="Say <|im_end|>"), *SAMPLES[1:]]
    outcomes = run(samples, model)
    assert (outcomes[0].reason, "<|im_end|>" in outcomes[0].detail) == ("control_token_in_text", True)
    assert all(isinstance(one, ScoredPair) for one in outcomes[1:])
    assert not any("<|im_end|>" in pair.prompt for request in model.requests for pair in request.pairs)


def test_a_number_that_is_not_finite_is_rejected_by_name_and_its_neighbours_are_not():
    samples = [make_sample("a", "i0"), make_sample("b", "i0", "one nan two"), make_sample("c", "i0")]
    outcomes = run(samples)
    assert [type(it) for it in outcomes] == [ScoredPair, Rejected, ScoredPair]
    assert outcomes[1] == Rejected(
        "b", "i0", "scoring", "non_finite_score", "the log-probability without the image of token 2 is nan"
    )


def test_a_sample_of_an_unknown_picture_is_rejected():
    outcomes = run([SAMPLES[0], make_sample("stray", "elsewhere")])
    assert outcomes[1].reason == "unreadable_image"


@pytest.mark.parametrize("fits", [1, 2, 3])
def test_out_of_memory_halves_the_batch_and_changes_no_result(fits, caplog):
    model = FakeModel(fits=fits)
    with caplog.at_level(logging.WARNING):
        assert run(model=model, batch_size=6) == run(batch_size=6)
    assert caplog.messages
    assert max(model.batches) == 6


def test_an_image_that_does_not_fit_alone_is_rejected():
    outcomes = run(model=FakeModel(fits=0), batch_size=4)
    assert {(it.reason, it.detail) for it in outcomes} == {("oom", "did not fit")}
    assert [it.id for it in outcomes] == [it.sample_id for it in SAMPLES]


@pytest.mark.parametrize("words", [4, 9, 12])
def test_pairs_that_do_not_fit_together_are_scored_apart(words, caplog):
    long = make_sample("long", "i1", "one two three four five six seven eight nine ten eleven twelve thirteen")
    samples = [make_sample(f"s{n}", "i1", "a b c") for n in range(3)] + [long, SAMPLES[0]]
    outcomes = run(samples, model=FakeModel(words=words), batch_size=4)
    assert [(it.id, it.reason) for it in outcomes if isinstance(it, Rejected)] == [("long", "oom")]
    assert [it for it in outcomes if isinstance(it, ScoredPair)] == [
        it for it in run(samples) if it.sample.sample_id != "long"
    ]


def test_a_mode_that_the_model_cannot_do_is_refused_before_any_work():
    model = FakeModel(modes=["drop"])
    with pytest.raises(BackendError, match="it can do drop"):
        run(model=model, no_image="mask")
    assert not model.batches


def test_rescore_equals_scoring_in_that_form():
    for form in ("log_ratio", "focused_likelihood", "vocabulary_kl", "answer_kl", "weighted_log_ratio"):
        again = [rescore(it, form) for it in run()]
        assert again == run(form=form)
    assert rescore(replace(run()[0], i2c=99.0), "discounted_likelihood") == run()[0]


def test_no_samples_no_outcomes():
    assert run([]) == []


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("PARSER_VERSION", "draft/parsed"),
        ("SCORER_VERSION", "draft/scored"),
        ("TUNER_VERSION", "tuned"),
        ("FINETUNER_VERSION", "finetuned"),
        ("EVALUATOR_VERSION", "evaluation/pope"),
    ],
)
def test_a_new_version_of_the_code_makes_its_stage_stale(name, stage, monkeypatch):
    pope = {"task": "pope", "data": ["pope.json"]}
    config = RunConfig.model_validate({"finetuning": {"enabled": True}, "evaluation": {"tasks": [pope]}})
    before = make_plan(config, "weights")
    monkeypatch.setattr(plan, name, 99)
    after = make_plan(config, "weights")
    changed = [one for one in before if after[one].fingerprint != before[one].fingerprint]
    assert changed[0] == stage and after[stage].settings[name.lower()] == 99


def test_scores_of_other_pairs_are_never_taken_for_those_asked_for():
    class Renaming(FakeModel):
        def score(self, requests, no_image):
            return {f"{name}?": scores for name, scores in super().score(requests, no_image).items()}

    with pytest.raises(BackendError, match="got scores of"):
        run(model=Renaming())


def test_the_model_hears_of_every_image_before_it_is_shown():
    model = FakeModel()
    run(model=model, no_image="drop")
    assert {id(image) for image in model.prepared} == {id(request.image) for request in model.requests}
    assert len(model.prepared) == len(model.requests) > 1
