"""The ``hf`` backend on real tiny models, held against a plain loop: one pair, one forward, all logits."""

import inspect
from dataclasses import replace

import pytest
import torch
from PIL import Image

from c3l.errors import BackendError, OutOfMemoryError
from c3l.models.hf.dictating import WritingWays
from c3l.models.hf.inference import HfModel
from c3l.models.hf.sampling import Text
from c3l.models.interface import GenerateRequest, Pair, Sampling, ScoreRequest
from c3l.records import Provenance
from scores import score_rows
from tiny_models import load_tiny, make_picture, try_out

pytestmark = pytest.mark.usefixtures("tried_once")
PROVENANCE = Provenance("tiny", "", "hf", "float32", "cpu", 0, {})
TOLERANCE = 1e-4
SIZES = [(40, 30), (64, 30), (30, 64)]
PAIRS = (
    Pair("a", "What is it?", "A dog."),
    Pair("b", "Where?", "In the garden, by the 🌳"),
    Pair("c", "How many dogs are in the picture?", "x"),
)
REQUESTS = [ScoreRequest(make_picture(n, SIZES[n]), PAIRS, seed=n) for n in range(3)]


@pytest.fixture
def llava(tiny):
    return try_out(tiny("llava"))


@torch.no_grad()
def score_by_hand(tiny, image, pair, shift=0, edit=None):
    """Log-probabilities (N, V) at the answer positions, the plain way; `shift` plants a wrong position."""
    content = ([{"type": "image"}] if image else []) + [{"type": "text", "text": pair.prompt}]
    chat = [{"role": "user", "content": content}]
    text = tiny.processor.apply_chat_template(chat, add_generation_prompt=True)
    inputs = tiny.processor(
        images=[[image]] if image else None, text=[text], add_special_tokens=False, return_tensors="pt"
    )
    answer = tiny.processor.tokenizer(pair.completion, add_special_tokens=False)["input_ids"]
    prompt_length = inputs["input_ids"].shape[1]
    for key in ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"):
        if key in inputs:
            fill = {"input_ids": answer, "attention_mask": [1] * len(answer)}.get(key, [0] * len(answer))
            inputs[key] = torch.cat([inputs[key], torch.tensor([fill])], dim=1)
    if edit:
        edit(inputs)
    dtype = tiny.model.dtype
    inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items() if k != "labels"}
    table = tiny.model(**inputs).logits[0].log_softmax(-1)
    start = prompt_length - 1 + shift
    return table[start : start + len(answer)], torch.tensor(answer)


def pick(table, ids):
    return table[torch.arange(len(ids)), ids].tolist()


def numbers(scores):
    return torch.tensor(
        [*scores.logprobs_with_image, *scores.logprobs_without_image, *scores.token_kl], dtype=torch.float64
    )


def assert_same(results, expected, tolerance=TOLERANCE):
    assert [len(result) for result in results] == [len(result) for result in expected]
    for result, wanted in zip(results, expected, strict=True):
        for one, other in zip(result, wanted, strict=True):
            assert one.token_ids == other.token_ids
            assert (numbers(one) - numbers(other)).abs().max() < tolerance


def test_scores_equal_a_plain_loop(family, model):
    results = score_rows(model, REQUESTS, "drop")
    for request, result in zip(REQUESTS, results, strict=True):
        for pair, scores in zip(request.pairs, result, strict=True):
            log_p, ids = score_by_hand(family, request.image, pair)
            log_q, _ = score_by_hand(family, None, pair)
            assert scores.token_ids == tuple(ids.tolist())
            assert scores.logprobs_with_image == pytest.approx(pick(log_p, ids), abs=TOLERANCE)
            assert scores.logprobs_without_image == pytest.approx(pick(log_q, ids), abs=TOLERANCE)
            kl = (log_p.exp() * (log_p - log_q)).sum(-1).tolist()
            assert scores.token_kl == pytest.approx(kl, abs=TOLERANCE)


def test_scores_equal_a_plain_loop_in_float64(tmp_path):
    tiny = load_tiny("llava", tmp_path / "llava")
    tiny.model.double()
    model = HfModel(tiny.model, tiny.processor, PROVENANCE)
    log_p, ids = score_by_hand(tiny, REQUESTS[0].image, PAIRS[1])
    scores = score_rows(model, REQUESTS, "drop")[0][1]
    assert scores.logprobs_with_image == pytest.approx(pick(log_p, ids), abs=1e-12)


@pytest.mark.parametrize("planted", ["position", "double_softmax"])
def test_the_plain_loop_would_catch_a_planted_bug(planted, family, model):
    log_p, ids = score_by_hand(family, REQUESTS[0].image, PAIRS[0], shift=planted == "position")
    if planted == "double_softmax":
        log_p = log_p.exp().log_softmax(-1)
    scores = score_rows(model, REQUESTS[:1], "drop")[0][0]
    wrong = max(abs(a - b) for a, b in zip(scores.logprobs_with_image, pick(log_p, ids), strict=True))
    assert wrong > 1000 * TOLERANCE


def test_another_image_changes_the_scores(model):
    """The tolerance of all the other tests means something only because of this one."""
    first, second = (score_rows(model, [ScoreRequest(make_picture(n), PAIRS)], "drop")[0] for n in (1, 2))
    for one, other in zip(first, second, strict=True):
        gaps = [abs(a - b) for a, b in zip(one.logprobs_with_image, other.logprobs_with_image, strict=True)]
        assert max(gaps) > 0.05
        assert one.logprobs_without_image == pytest.approx(other.logprobs_without_image, abs=TOLERANCE)


def test_batch_size_order_and_padding_change_nothing(model):
    together = score_rows(model, REQUESTS, "drop")
    one_image_a_batch = [score_rows(model, [request], "drop")[0] for request in REQUESTS]
    assert_same(one_image_a_batch, together)
    backwards = score_rows(model, REQUESTS[::-1], "drop")[::-1]
    assert_same(backwards, together)
    one_pair_a_batch = [
        [score_rows(model, [replace(request, pairs=(pair,))], "drop")[0][0] for pair in request.pairs]
        for request in REQUESTS
    ]
    assert_same(one_pair_a_batch, together)


def count_encoded(tiny, monkeypatch):
    """A number for each picture that goes through the encoder."""
    encoded = []
    inner = tiny.model.base_model.get_image_features

    def counting(*args, **kwargs):
        given = inspect.signature(inner).bind(*args, **kwargs).arguments
        pictures = given.get("image_grid_thw", given["pixel_values"])  # patches of several stand in one row
        encoded.extend(range(len(pictures)))
        return inner(*args, **kwargs)

    counting.__signature__ = inspect.signature(inner)
    monkeypatch.setattr(tiny.model.base_model, "get_image_features", counting)
    return encoded


@pytest.mark.parametrize(("mode", "expected"), [("drop", 3), ("blank", 6), ("noise", 6), ("others", 3)])
def test_every_picture_is_encoded_once(mode, expected, family, monkeypatch):
    encoded = count_encoded(family, monkeypatch)
    model = try_out(family)
    assert model.shares_images
    encoded.clear()
    images = [request.image for request in REQUESTS]
    requests = [replace(it, others=tuple(o for o in images if o is not it.image)) for it in REQUESTS]
    score_rows(model, requests, mode)
    assert len(encoded) == expected  # in `others`, the other pictures are those of the batch


def test_other_pictures_are_encoded_once_for_all_calls_and_their_rows_share_them(family, monkeypatch):
    encoded = count_encoded(family, monkeypatch)
    model = try_out(family)
    others = (make_picture(7), make_picture(8))
    requests = [replace(it, others=others) for it in REQUESTS]
    apart = [score_rows(model, [request], "others")[0] for request in requests]
    encoded.clear()
    tokens = count_tokens(model, monkeypatch)
    together = score_rows(model, requests, "others")
    assert len(encoded) == len(REQUESTS), "none of the others again"
    assert_same(together, apart)
    shared = sum(tokens)
    tokens.clear()
    score_rows(model, [replace(it, others=tuple(other.copy() for other in others)) for it in requests], "others")
    assert shared < sum(tokens), "pictures of their own share nothing"
    assert {id(image) for image, _ in model._standing.values()}.isdisjoint(map(id, others)), "nothing is kept for ever"


@pytest.mark.parametrize("count", [1, 2])
def test_the_batch_in_which_other_pictures_were_first_shown_changes_no_bit(count, family):
    """A run that was stopped, or made in parts, begins with another batch."""
    others = tuple(make_picture(number) for number in range(7, 7 + count))
    first, *rest = [replace(it, others=others) for it in REQUESTS]
    at_once, gone_on = try_out(family), try_out(family)
    score_rows(at_once, [first, *(replace(it, image=it.image.copy()) for it in rest)], "others")
    assert score_rows(at_once, rest, "others") == score_rows(gone_on, rest, "others")


def count_tokens(model, monkeypatch):
    """How many tokens, padding included, each forward over packed rows computes."""
    found, forward = [], model._forcing._forward_packed

    def counting(packed, *rest):
        found.append(packed.ids.numel())
        return forward(packed, *rest)

    monkeypatch.setattr(model._forcing, "_forward_packed", counting)
    return found


def test_a_model_that_takes_no_ready_features_gives_the_same_scores(family, model, monkeypatch):
    shared = score_rows(model, REQUESTS, "blank")
    monkeypatch.setattr(model._vision, "can_share", False)
    assert not model.shares_images
    assert_same(score_rows(model, REQUESTS, "blank"), shared)


def test_a_family_with_features_of_a_form_of_its_own_encodes_a_picture_a_row(tiny, llava):
    family = tiny("llava")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(family.model.base_model, "get_image_features", lambda pixel_values, return_dict: [(3, [1.0])])
        model = HfModel(family.model, family.processor, PROVENANCE)
    assert not model.shares_images
    assert_same(score_rows(model, REQUESTS, "drop"), score_rows(llava, REQUESTS, "drop"))


def test_blank_is_a_grey_picture_of_the_same_size(family, model):
    scores = score_rows(model, REQUESTS, "blank")[1][0]
    log_q, ids = score_by_hand(family, Image.new("RGB", SIZES[1], (128, 128, 128)), PAIRS[0])
    assert scores.logprobs_without_image == pytest.approx(pick(log_q, ids), abs=TOLERANCE)


def test_noise_belongs_to_the_seed_and_not_to_the_batch(llava):
    together = score_rows(llava, REQUESTS, "noise")
    assert_same([score_rows(llava, [request], "noise")[0] for request in REQUESTS], together)
    reseeded = score_rows(llava, [replace(REQUESTS[0], seed=99)], "noise")[0]
    assert (numbers(reseeded[0]) - numbers(together[0][0])).abs().max() > 0.05


def test_others_is_the_mean_probability_under_other_pictures(family, model):
    others = tuple(make_picture(n) for n in (7, 8, 9))
    scores = score_rows(model, [replace(REQUESTS[0], others=others)], "others")[0][1]
    tables = [score_by_hand(family, other, PAIRS[1])[0] for other in others]
    log_q = torch.stack(tables).exp().mean(0).log()
    log_p, ids = score_by_hand(family, REQUESTS[0].image, PAIRS[1])
    assert scores.logprobs_without_image == pytest.approx(pick(log_q, ids), abs=TOLERANCE)
    kl = (log_p.exp() * (log_p - log_q)).sum(-1).tolist()
    assert scores.token_kl == pytest.approx(kl, abs=TOLERANCE)


def test_others_without_other_pictures_is_refused(llava):
    with pytest.raises(BackendError, match="other images"):
        score_rows(llava, REQUESTS, "others")


def test_mask_hides_the_picture_and_keeps_the_positions(family, model):
    if "mask" not in model.no_image_modes():
        assert family.family in ("qwen2_vl", "qwen3_vl")
        with pytest.raises(BackendError, match=r"scoring\.no_image"):
            score_rows(model, REQUESTS, "mask")
        return
    token = family.model.config.image_token_id

    def hide(inputs):
        inputs["attention_mask"][inputs["input_ids"] == token] = 0
        inputs["position_ids"] = torch.arange(inputs["input_ids"].shape[1])[None]

    scores = score_rows(model, REQUESTS, "mask")
    log_q, ids = score_by_hand(family, REQUESTS[0].image, PAIRS[0], edit=hide)
    assert scores[0][0].logprobs_without_image == pytest.approx(pick(log_q, ids), abs=TOLERANCE)
    of_another = score_rows(model, [replace(REQUESTS[0], image=make_picture(5, SIZES[0]))], "mask")[0][0]
    assert of_another.logprobs_without_image == pytest.approx(scores[0][0].logprobs_without_image, abs=TOLERANCE)


def test_an_empty_completion_has_no_numbers_and_moves_nobody_else(llava):
    pairs = (PAIRS[0], Pair("empty", "Why?", ""), PAIRS[1])
    whole, empty, other = score_rows(llava, [replace(REQUESTS[0], pairs=pairs)], "drop")[0]
    assert empty.token_ids == ()
    assert_same([[whole, other]], [score_rows(llava, [replace(REQUESTS[0], pairs=PAIRS[:2])], "drop")[0]])
    assert score_rows(llava, [replace(REQUESTS[0], pairs=pairs[1:2])], "drop")[0][0].token_ids == ()
    assert score_rows(llava, [], "drop") == []


def test_pairs_of_one_id_cannot_be_told_apart(llava):
    with pytest.raises(BackendError, match="got the pair id 'a' twice in a batch"):
        llava.score([replace(request, pairs=(Pair("a", "What?", "A dog."),)) for request in REQUESTS], "drop")


GENERATE = [
    GenerateRequest(f"g{n}", make_picture(n, SIZES[n % 3]) if n != 2 else None, "Say it" + "!" * n, seed=n)
    for n in range(5)
]


def test_generation_is_the_same_for_any_batch_size_and_order(model):
    for temperature in (0.0, 1.0):
        sampling = Sampling(temperature, 0.9, 6)
        together = model.generate(GENERATE, sampling)
        assert [it.request_id for it in together] == [it.request_id for it in GENERATE]
        assert [model.generate([request], sampling)[0] for request in GENERATE] == together
        assert model.generate(GENERATE[::-1], sampling)[::-1] == together
        if temperature:  # greedily, one of the tiny models always writes the same
            assert len({it.text for it in together}) == len(together)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_prompts_about_one_picture_share_what_they_begin_with(temperature, model):
    sampling, pictures = Sampling(temperature, 1.0, 4), [make_picture(1), make_picture(2, SIZES[1])]
    prompts = ["Say it", "Say it!", "Say it", "No"]
    asked = [GenerateRequest(f"g{n}", pictures[n % 2], prompt, seed=n) for n, prompt in enumerate(prompts * 2)]
    alone = [model.generate([request], sampling)[0] for request in asked]
    encoded, encode_all = [], model._vision.encode_all
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model._vision, "encode_all", lambda these: encoded.extend(these) or encode_all(these))
        together = model.generate(asked, sampling)
    assert len(encoded) == (2 if model.shares_images else 0)
    assert together == alone
    assert model._writing.ways().shared


def test_a_sliding_window_shorter_than_the_text_hides_what_is_behind_it(tiny, monkeypatch):
    family = tiny("gemma3")
    prompts = ["Say it", "Say it!", "No, do not say it, but tell me what it is that you can see"]
    asked = [GenerateRequest(f"g{n}", GENERATE[n % 2].image, prompt, seed=n) for n, prompt in enumerate(prompts * 2)]
    texts = []
    for window in (16, 512):
        monkeypatch.setattr(family.model.config.text_config, "sliding_window", window)
        for shares in (True, False):
            model = HfModel(family.model, family.processor, PROVENANCE)
            monkeypatch.setattr(model._writing, "_ways", WritingWays(shares, side_by_side=True))
            texts.append([it.text for it in model.generate(asked, Sampling(1.0, 1.0, 40))])
    assert texts[0] == texts[1] and texts[2] == texts[3]
    assert texts[0] != texts[2]


def test_a_family_that_counts_positions_by_the_cache_shares_no_cache(llava, monkeypatch, caplog):
    """As HyperCLOVAX-Vision and EXAONE 4.5 do: what ``generate`` says of positions does not reach the model."""
    inner = llava._model.prepare_inputs_for_generation

    def drop_positions(*args, **kwargs):
        return inner(*args, **kwargs) | {"position_ids": None}

    drop_positions.__signature__ = __import__("inspect").signature(inner)
    monkeypatch.setattr(llava._model, "prepare_inputs_for_generation", drop_positions)
    prompts = ["Say it", "Say it, and tell me more about it, please", "No", "What is it that you can see?"]
    asked = [GenerateRequest(f"g{n}", GENERATE[0].image, prompt, seed=n) for n, prompt in enumerate(prompts)]
    sampling, tried = Sampling(1.0, 1.0, 16), HfModel(llava._model, llava.processor, PROVENANCE)
    assert tried.generate(asked, sampling) == [tried.generate([request], sampling)[0] for request in asked]
    assert [record.message for record in caplog.records].count(caplog.records[0].message) == 1
    assert "computed whole" in caplog.records[0].message


def test_a_family_whose_rows_change_each_other_writes_one_after_the_other(llava, caplog, monkeypatch):
    sampling, asked = Sampling(1.0, 1.0, 8), [request for request in GENERATE if request.image is not None]
    alone = [llava.generate([request], sampling)[0] for request in asked]
    tried = HfModel(llava._model, llava.processor, PROVENANCE)
    inner = llava._model.prepare_inputs_for_generation

    def count_from_one_place(*args, **kwargs):
        found = inner(*args, **kwargs)
        if len(found["input_ids"]) > 1 and found.get("position_ids") is not None:
            found["position_ids"] = found["position_ids"][:1].expand(len(found["input_ids"]), -1)
        return found

    count_from_one_place.__signature__ = __import__("inspect").signature(inner)
    monkeypatch.setattr(llava._model, "prepare_inputs_for_generation", count_from_one_place)
    assert tried.generate(asked, sampling) == alone
    assert tried.describe_writing() == "one by one"
    assert "one prompt after the other" in caplog.text


@pytest.mark.parametrize("room", [1, 3])
def test_keys_and_values_grow_past_their_room(room, llava, monkeypatch):
    sampling, asked = Sampling(1.0, 1.0, 24), [replace(GENERATE[0], seed=n) for n in range(3)]
    expected = llava.generate(asked, sampling)
    monkeypatch.setattr("c3l.models.hf.cache.ROOM", room)
    monkeypatch.setattr("c3l.models.hf.writing.LEG", 7)
    assert llava.generate(asked, sampling) == expected


def feed_sizes(model, monkeypatch):
    """Tokens of each forward of the language model, as (rows, tokens a row)."""
    sizes, decoder = [], model._model.get_decoder()
    inner = decoder.forward

    def count(*args, **kwargs):
        sizes.append(tuple(kwargs["inputs_embeds"].shape[:2]))
        return inner(*args, **kwargs)

    monkeypatch.setattr(decoder, "forward", count)
    return sizes


def test_a_prompts_tokens_are_read_once_for_all_its_candidates(llava, monkeypatch):
    asked = [GenerateRequest(f"g{n}", GENERATE[0].image, "Say it", seed=n) for n in range(4)]
    length = len(llava._encoder.encode_prompt("Say it", GENERATE[0].image).ids)
    llava.generate(asked[:1], Sampling(1.0, 1.0, 1))  # tries out what can be packed
    sizes = feed_sizes(llava, monkeypatch)
    llava.generate(asked, Sampling(1.0, 1.0, 3))
    assert sizes == [(1, length - 1), (4, 1), (4, 1), (4, 1)]


@pytest.mark.parametrize("first", [0, -1])  # the shortest prompt and the longest, whose padding leaves with it
@pytest.mark.parametrize("name", ["llava", "qwen3_vl"])
def test_rows_that_have_ended_leave_the_batch(name, first, tiny, monkeypatch):
    model = try_out(tiny(name))
    sampling, asked = Sampling(1.0, 1.0, 24), GENERATE[:2] + GENERATE[3:]
    texts = [it.text for it in model.generate(asked, sampling)]
    stop = next(c for c in texts[first][:9] if any(c not in text for text in texts))
    monkeypatch.setattr(model._writing, "stop_ids", frozenset(model._encoder.encode_completion(stop)))
    alone = [model.generate([request], sampling)[0] for request in asked]
    monkeypatch.setattr("c3l.models.hf.writing.LEG", 5)
    sizes = feed_sizes(model, monkeypatch)
    assert model.generate(asked, sampling) == alone
    written = [len(it.text) + 1 if it.finish_reason == "stop" else 24 for it in alone]
    assert min(written) < 10 and max(written) == 24
    in_legs = sum(min(24, -(-tokens // 5) * 5) for tokens in written)
    assert sum(rows for rows, _ in sizes) == in_legs
    assert sizes[0][0] == len(asked)


def test_generation_sees_the_picture_and_the_seed(llava):
    sampling = Sampling(1.0, 1.0, 12)
    first = llava.generate(GENERATE[:1], sampling)[0].text
    assert llava.generate([replace(GENERATE[0], image=make_picture(3))], sampling)[0].text != first
    assert llava.generate([replace(GENERATE[0], seed=99)], sampling)[0].text != first
    greedy = Sampling(0.0, 1.0, 12)
    unseeded = [llava.generate([replace(GENERATE[0], seed=seed)], greedy)[0].text for seed in (1, 2)]
    assert unseeded[0] == unseeded[1]


def test_greedy_generation_equals_the_models_own(tiny):
    family = tiny("llava")
    model = try_out(family)
    ours = model.generate(GENERATE[:1], Sampling(0.0, 1.0, 8))[0]
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": GENERATE[0].prompt}]}]
    text = family.processor.apply_chat_template(chat, add_generation_prompt=True)
    inputs = family.processor(images=GENERATE[0].image, text=text, add_special_tokens=False, return_tensors="pt")
    ids = family.model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert ours.text == family.processor.tokenizer.decode(ids, skip_special_tokens=True)


def test_a_folders_own_generation_settings_do_not_leak_into_sampling(llava, monkeypatch):
    expected = llava.generate(GENERATE, Sampling(1.0, 1.0, 12))
    monkeypatch.setattr(llava._model.generation_config, "repetition_penalty", 5.0)
    monkeypatch.setattr(llava._model.generation_config, "top_k", 1)
    assert llava.generate(GENERATE, Sampling(1.0, 1.0, 12)) == expected
    assert llava._model.generation_config.repetition_penalty == 5.0


def test_finish_reason_tells_an_end_from_a_cut(llava, monkeypatch):
    cut = llava.generate(GENERATE[:1], Sampling(0.0, 1.0, 6))[0]
    assert cut.finish_reason == "length"
    second = llava._encoder.encode_completion(cut.text[1])[0]
    monkeypatch.setattr(llava._writing, "stop_ids", frozenset({second}))
    ended = llava.generate(GENERATE[:1], Sampling(0.0, 1.0, 6))[0]
    assert (ended.finish_reason, ended.text) == ("stop", cut.text[: cut.text.index(cut.text[1])])


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_whose_logits_break_says_so_and_keeps_what_was_written(temperature, llava, monkeypatch):
    sampling = Sampling(temperature, 1.0, 6)
    pair = [GENERATE[0], replace(GENERATE[0], request_id="other", seed=5)]
    whole = llava.generate(pair, sampling)
    inner, calls = llava._model.forward, []

    def break_first_row(*args, **kwargs):
        output = inner(*args, **kwargs)
        calls.append(1)
        if len(calls) >= 3:
            output.logits[0] = torch.nan
        return output

    break_first_row.__signature__ = __import__("inspect").signature(inner)
    monkeypatch.setattr(llava._model, "forward", break_first_row)
    first, second = llava.generate(pair, sampling)
    assert first.finish_reason == "non_finite_logits"
    assert first.text and first.text != whole[0].text and whole[0].text.startswith(first.text)
    assert second == whole[1]


def test_an_answer_that_ended_before_the_logits_broke_is_whole(llava):
    stop = min(llava._writing.stop_ids)
    ids = [*llava._encoder.encode_completion("abc"), stop, stop]
    assert llava._writing._complete(Text(GENERATE[0], ids, 5)).finish_reason == "stop"
    assert llava._writing._complete(Text(GENERATE[0], ids, 3)).finish_reason == "non_finite_logits"


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: not enough memory")],
)
def test_running_out_of_memory_has_one_name(error, llava, monkeypatch):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(llava._model, "forward", fail)
    with pytest.raises(OutOfMemoryError):
        score_rows(llava, REQUESTS, "drop")


def test_other_errors_keep_their_name(llava, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr(llava._model, "forward", fail)
    with pytest.raises(RuntimeError, match="shape"):
        score_rows(llava, REQUESTS, "drop")


def test_causal_models_pass_the_check(model):
    assert model.check_causal() is None


def look_ahead(llava, monkeypatch):
    """Let every token see every other."""
    inner = llava._model.forward

    def see_all(*args, **kwargs):
        kwargs["attention_mask"] = torch.zeros(1, 1, *[kwargs["input_ids"].shape[1]] * 2)  # hides nothing
        return inner(*args, **kwargs)

    see_all.__signature__ = __import__("inspect").signature(inner)
    monkeypatch.setattr(llava._model, "forward", see_all)


def test_a_model_that_looks_ahead_is_refused(llava, monkeypatch):
    look_ahead(llava, monkeypatch)
    with pytest.raises(BackendError, match="causal"):
        llava.check_causal()


def test_the_look_ahead_is_seen_where_both_words_begin_with_one_token(llava, monkeypatch):
    inner = llava._encoder.encode_completion
    monkeypatch.setattr(llava._encoder, "encode_completion", lambda text: inner("_" + text))
    look_ahead(llava, monkeypatch)
    with pytest.raises(BackendError, match="causal"):
        llava.check_causal()
