"""Generation: in = out + rejected, whatever the batches, the pictures and the model's words are."""

from collections import Counter
from collections.abc import Sequence

import pytest
from PIL import Image

from c3l.errors import BackendError, BadImageError, ConfigError, DataError
from c3l.method.generation import Origin, generate, parse
from c3l.method.prompts import InstructionTemplate
from c3l.models.interface import Completion, GenerateRequest, Sampling
from c3l.records import Generation, ImageRef, Rejected, Sample, make_id
from c3l.settings.schema import GenerationConfig
from fakes import FakeModel

PLAIN = InstructionTemplate("plain", 1, "numbered", "Write {k} pairs.")
OTHER = InstructionTemplate("other", 1, "json", "Write {k} pairs as JSON.")
TEMPLATES = {template.id: template for template in (PLAIN, OTHER)}
IMAGES = [ImageRef(f"image{n}", f"{n}.png", "", 4, 4) for n in range(7)]


def open_image(image: ImageRef) -> Image.Image:
    return Image.new("RGB", (4, 4), (int(image.image_id[-1]), 0, 0))


def run(model: FakeModel, batch_size: int = 8, images: Sequence[ImageRef] = IMAGES, **changes: int):
    config = GenerationConfig(batch_size=batch_size)
    return list(generate(images, model, open_image, [PLAIN, OTHER], config, Origin(**{"seed": 0} | changes)))


def written(text: str, finish_reason: str = "stop", **changes: object) -> Generation:
    fields = {"generation_id": "g", "image_id": "image0", "instruction_id": "plain", "round": 0} | changes
    return Generation(**fields, text=text, finish_reason=finish_reason)


def blocks(*pairs: tuple[str, str]) -> str:
    return "\n".join(f"Question {n}: {q}\nAnswer {n}: {a}" for n, (q, a) in enumerate(pairs, start=1))


def reasons(generations: Sequence[Generation], k: int = 5) -> list[str]:
    results = parse(generations, TEMPLATES, k)
    return [result.reason if isinstance(result, Rejected) else "ok" for result in results]


# --- generate


def test_a_text_after_which_the_model_broke_down_is_rejected_whatever_it_says() -> None:
    results = run(FakeModel(finish_reason="non_finite_logits"))
    assert [result.id for result in results] == [result.generation_id for result in run(FakeModel())]
    assert {result.reason for result in results} == {"non_finite_logits"}


def test_one_result_for_each_image_and_template_in_order() -> None:
    results = run(FakeModel())
    assert [(result.image_id, result.instruction_id) for result in results] == [
        (image.image_id, template.id) for image in IMAGES for template in (PLAIN, OTHER)
    ]
    assert len({result.text for result in results}) == len(results)
    assert results[0].generation_id == make_id("image0", "plain", 0)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("capacity", [1, 2, 100])
def test_batch_size_and_memory_change_nothing(batch_size: int, capacity: int) -> None:
    model = FakeModel(capacity=capacity)
    assert run(model, batch_size) == run(FakeModel())
    assert max(model.batches) == min(batch_size, 14)


def test_each_row_has_a_seed_of_its_own_that_order_does_not_change() -> None:
    model, again = FakeModel(), FakeModel()
    forwards, backwards = run(model), run(again, images=IMAGES[::-1])
    assert {result.generation_id: result for result in forwards} == {
        result.generation_id: result for result in backwards
    }
    seeds = {request.seed for request in model.generated}
    assert len(seeds) == 14
    for change in ({"seed": 1}, {"round": 1}):
        other = FakeModel()
        run(other, **change)
        assert not seeds & {request.seed for request in other.generated}


def test_rounds_have_their_own_ids() -> None:
    draft, refined = run(FakeModel()), run(FakeModel(), round=1)
    assert not {one.generation_id for one in draft} & {one.generation_id for one in refined}
    assert {one.round for one in refined} == {1}


def test_the_model_gets_what_the_config_says() -> None:
    seen: list[Sampling] = []

    class Watched(FakeModel):
        def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
            seen.append(sampling)
            return super().generate(requests, sampling)

    model = Watched()
    config = GenerationConfig(temperature=0.3, top_p=0.9, max_new_tokens=17, pairs_per_image=4)
    list(generate(IMAGES[:1], model, open_image, [PLAIN], config, Origin(0)))
    assert seen == [Sampling(0.3, 0.9, 17)]
    assert model.generated[0].prompt == "Write 4 pairs."


def test_a_picture_that_does_not_open_is_rejected_and_the_others_go_on() -> None:
    def open_most(image: ImageRef) -> Image.Image:
        if image.image_id in ("image0", "image3"):
            raise BadImageError("not_an_image", "0.png is an HTML page")
        return open_image(image)

    config = GenerationConfig(batch_size=3)
    results = list(generate(IMAGES, FakeModel(), open_most, [PLAIN, OTHER], config, Origin(0)))
    assert Counter(type(result) for result in results) == {Generation: 10, Rejected: 4}
    assert results[0] == Rejected(
        make_id("image0", "plain", 0),
        "image0",
        "generation",
        "unreadable_image",
        "not_an_image: 0.png is an HTML page",
    )
    assert results[2:6] == run(FakeModel())[2:6]


def test_what_ails_all_images_rejects_none_of_them() -> None:
    def reach_nothing(image: ImageRef) -> Image.Image:
        raise DataError("cannot read s3://bucket: 503 Slow Down")

    with pytest.raises(DataError, match="503"):
        list(generate(IMAGES, FakeModel(), reach_nothing, [PLAIN], GenerationConfig(), Origin(0)))


def test_pictures_are_opened_once_and_only_a_few_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("c3l.method.batching.AHEAD", 2)
    opened: list[str] = []

    def watch(image: ImageRef) -> Image.Image:
        opened.append(image.image_id)
        return open_image(image)

    results = generate(IMAGES, FakeModel(), watch, [PLAIN, OTHER], GenerationConfig(batch_size=2), Origin(0))
    next(results)
    assert set(opened) <= {"image0", "image1", "image2"}
    assert len(list(results)) == 13
    assert sorted(opened) == [image.image_id for image in IMAGES]


def test_what_does_not_fit_alone_is_rejected_as_oom() -> None:
    results = run(FakeModel(capacity=0))
    assert [result.reason for result in results] == ["oom"] * 14
    assert [result.image_id for result in results[::2]] == [image.image_id for image in IMAGES]
    assert "room for 0" in results[0].detail


def test_a_backend_that_answers_something_else_is_an_error() -> None:
    class Wrong(FakeModel):
        def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
            return super().generate(requests, sampling)[:-1]

    with pytest.raises(BackendError, match="completions for 7 requests, expected these 8"):
        run(Wrong())


# --- parse


def test_what_the_fake_writes_becomes_five_samples_each() -> None:
    samples = list(parse(run(FakeModel()), TEMPLATES, 5))
    assert all(isinstance(sample, Sample) for sample in samples[:5])
    assert samples[3].sample_id == make_id("image0", "plain", 0, 3)
    assert [sample.index for sample in samples[:5]] == [0, 1, 2, 3, 4]


def test_each_fault_has_its_reason_and_spares_its_neighbours() -> None:
    pairs = [
        ("a?", "b"),
        ("A ?", "c"),
        ("d?", ""),
        ("e?", "I'm sorry."),
        ("f?", "f?"),
        ("g?", "<image>"),
        ("h?", "i"),
    ]
    expected = ["ok", "duplicate_question", "empty_answer", "refusal", "echoed_answer", "special_token", "ok"]
    assert reasons([written(blocks(*pairs))]) == expected


def test_rejected_pairs_keep_their_place_in_the_ids() -> None:
    results = list(parse([written(blocks(("a?", ""), ("b?", "c")))], TEMPLATES, 5))
    assert results[0].id == make_id("image0", "plain", 0, 0)
    assert results[1].sample_id == make_id("image0", "plain", 0, 1)


def test_surplus_pairs_are_rejected_after_k_good_ones() -> None:
    text = blocks(("a?", ""), ("b?", "b1"), ("c?", "c1"), ("d?", "d1"), ("b?", "b2"))
    assert reasons([written(text)], k=2) == ["empty_answer", "ok", "ok", "too_many", "duplicate_question"]


def test_duplicates_are_found_across_instructions_but_not_across_images_and_rounds() -> None:
    text = blocks(("a?", "b"))
    generations = [
        written(text),
        written(text, instruction_id="other"),
        written(text, image_id="image1"),
        written(text, round=1),
    ]
    assert reasons(generations) == ["ok", "duplicate_question", "ok", "ok"]


def test_a_rejected_question_may_be_asked_again() -> None:
    assert reasons([written(blocks(("a?", ""), ("a?", "b")))]) == ["empty_answer", "ok"]


@pytest.mark.parametrize("last", ["Question 2: c?\nAnswer 2: d", "Question 2: c?\nAnswer 2:", "Question 2: c"])
def test_the_last_pair_of_a_cut_off_text_is_truncated(last: str) -> None:
    text = f"Question 1: a?\nAnswer 1: b\n{last}"
    assert reasons([written(text, "length")]) == ["ok", "truncated"]


def test_a_closed_json_object_was_not_touched_by_the_cut() -> None:
    text = '[{"question": "a?", "answer": "b"}, {"question": "c?", "answer": "d"}, '
    assert reasons([written(text, "length", instruction_id="other")]) == ["ok", "ok"]
    assert reasons([written(text + '{"question": "e?", "answer": "f', "length", instruction_id="other")]) == [
        "ok",
        "ok",
        "truncated",
    ]


def test_a_text_without_pairs_is_one_rejection() -> None:
    generations = [written("A dog on a lawn."), written(""), written("I'm sorry, I cannot see the image.")]
    assert reasons(generations) == ["unparsable", "unparsable", "refusal"]


def test_pairs_in_a_thought_are_not_read_and_a_thought_without_an_end_is_one_rejection() -> None:
    thought, pairs = blocks(("a dog?", "no"), ("a cat?", "no")), blocks(("a?", "b"))
    [sample] = parse([written(f"<think>{thought}\n</think>\n{pairs}")], TEMPLATES, 5)
    assert isinstance(sample, Sample) and (sample.question, sample.index) == ("a?", 0)
    generations = [written(f"<think>{thought}", "length"), written(f"<think>{thought}"), written("<think>a</think>")]
    assert reasons(generations) == ["unfinished_thought", "unfinished_thought", "unparsable"]
    assert reasons([written("<think>is it?</think>I'm sorry, I cannot see the image.")]) == ["refusal"]


def test_a_prompt_that_is_longer_than_the_model_is_a_rejection_with_its_lengths() -> None:
    class Short(FakeModel):
        def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
            return [Completion(one.request_id, "", "too_long", "9 tokens, 8 positions") for one in requests]

    assert {(one.reason, one.detail) for one in run(Short())} == {("too_long", "9 tokens, 8 positions")}


def test_an_unknown_instruction_is_an_error() -> None:
    with pytest.raises(ConfigError, match="instruction 'gone', known are plain, other"):
        list(parse([written("", instruction_id="gone")], TEMPLATES, 5))
