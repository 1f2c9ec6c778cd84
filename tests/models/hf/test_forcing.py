"""Packed rows give the numbers of rows that are computed whole, and cost what the arithmetic asks for."""

import logging
from copy import deepcopy
from dataclasses import replace
from functools import wraps

import pytest
import torch

from c3l.models.hf import forcing, layout, rounding
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.forcing import TeacherForcing
from c3l.models.hf.layout import make_paths
from c3l.models.hf.packing import RowPath, pack
from c3l.models.hf.rows import ForcingRow
from c3l.models.hf.vision import VisionEncoder
from tiny_models import FAMILIES, make_picture

COMPLETIONS = ("A dog.", "A dog on the grass.", "x")


def make_forcing(family, dtype=torch.float32):
    # 16 bits are never got back: of those models it is a copy
    model = (deepcopy(family.model) if dtype.itemsize == 2 else family.model).to(dtype)
    encoder = ChatEncoder(family.processor)
    return TeacherForcing(model, encoder, VisionEncoder(model, encoder))


def make_rows(taught, pictures=(0, 1), **more):
    encode = taught._encoder.encode_completion
    images = [make_picture(number, (40 + 24 * number, 30)) for number in pictures]
    return [
        ForcingRow(image, prompt, encode(completion), request, **more)
        for request, image in enumerate(images)
        for prompt in ("What is it?", "What is there?")
        for completion in COMPLETIONS
    ]


def without_images(rows):
    return [replace(row, image=None) for row in rows]


@pytest.mark.parametrize("name", FAMILIES)
def test_in_double_precision_packed_rows_are_exact(name, tiny):
    family = tiny(name)
    try:
        taught = make_forcing(family, torch.float64)
        rows = make_rows(taught)
        with torch.inference_mode():
            packed = list(taught.predict([rows, without_images(rows)]))
            apart = [taught.predict_apart(one, {}) for one in (rows, without_images(rows))]
        assert taught.packs()
        for ours, plain in zip(packed, apart, strict=True):
            assert ours.shape == plain.shape
            torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
        assert not torch.allclose(packed[0], packed[1], atol=1e-2)  # the picture matters
    finally:
        family.model.to(torch.float32)


def test_many_views_of_the_same_rows_are_each_their_own(tiny):
    taught = make_forcing(tiny("llava"))
    lists = [make_rows(taught, pictures) for pictures in ((0, 1), (2, 0), (1, 2), (0, 2))]
    with torch.inference_mode():
        for ours, rows in zip(taught.predict(lists), lists, strict=True):
            torch.testing.assert_close(ours, taught.predict_apart(rows, {}), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["llava", "qwen2_vl", "qwen3_vl", "gemma3"])
def test_tokens_and_head_rows_are_those_of_the_bound(name, tiny):
    family = tiny(name)
    taught = make_forcing(family)
    rows = make_rows(taught)
    list(taught.predict([rows[:1]]))  # at its first rows it tries itself out
    fed, headed = [], []
    decoder, head = family.model.get_decoder(), family.model.get_output_embeddings()
    hooks = [
        decoder.register_forward_hook(
            lambda _, args, kwargs, out: fed.append(out[0].shape[:2].numel()), with_kwargs=True
        ),
        head.register_forward_hook(lambda _, args, out: headed.append(out.shape[:-1].numel())),
    ]
    try:
        list(taught.predict([rows, without_images(rows)]))
    finally:
        for hook in hooks:
            hook.remove()
    encode = taught._encoder.encode_prompt
    bound = 0
    for image in {id(row.image): row.image for row in rows}.values():
        mine = [row for row in rows if row.image is image]
        for shown in (image, None):
            prompts = [encode(row.prompt, shown).ids for row in mine]
            shared = next(n for n, ids in enumerate(zip(*prompts, strict=False)) if len(set(ids)) > 1)
            bound += shared + sum(
                len(ids) - shared + len(row.completion) - 1 for ids, row in zip(prompts, mine, strict=True)
            )
    answers = sum(len(row.completion) for row in rows)
    assert sum(fed) <= 1.05 * bound
    assert sum(headed) <= 2 * answers
    whole = sum(
        len(encode(row.prompt, shown).ids) + len(row.completion) - 1 for row in rows for shown in (row.image, None)
    )
    assert sum(fed) < 0.6 * whole


def test_a_sliding_window_shorter_than_the_rows_hides_what_is_behind_it(tiny, monkeypatch):
    family = tiny("gemma3")
    monkeypatch.setattr(family.model.config.text_config, "sliding_window", 16)
    try:
        taught = make_forcing(family, torch.float64)
        rows = make_rows(taught)
        with torch.inference_mode():
            [ours] = taught.predict([rows])
            assert taught.packs()
            torch.testing.assert_close(ours, taught.predict_apart(rows, {}), rtol=0, atol=1e-12)
            monkeypatch.setattr(family.model.config.text_config, "sliding_window", 512)
            assert not torch.allclose(ours, next(taught.predict([rows])), atol=1e-2)
    finally:
        family.model.to(torch.float32)


def test_a_family_that_cannot_says_so_and_computes_rows_whole(tiny, caplog, monkeypatch):
    family = tiny("llava")
    layers = ["linear_attention", "full_attention"]
    monkeypatch.setattr(family.model.config.text_config, "layer_types", layers, raising=False)
    taught = make_forcing(family)
    rows = make_rows(taught)
    with caplog.at_level(logging.WARNING):
        list(taught.predict([rows]))
        list(taught.predict([rows]))
    assert ["layers of linear_attention" in record.message for record in caplog.records] == [True]


def test_a_model_that_trips_over_packed_rows_computes_them_whole(tiny, caplog, monkeypatch):
    monkeypatch.setattr(layout, "_mask", lambda *_: {"full_attention": None})
    taught = make_forcing(tiny("llava"))
    rows = make_rows(taught)
    with torch.inference_mode():
        [ours] = taught.predict([rows])
        torch.testing.assert_close(ours, taught.predict_apart(rows, {}), rtol=0, atol=1e-4)
    assert "packed rows end with" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_whose_packed_numbers_differ_is_found_out(dtype, tiny, caplog, monkeypatch):
    honest = forcing.pack

    def with_wrong_places(*given):
        return ((replace(packed, positions=packed.positions * 0), numbers) for packed, numbers in honest(*given))

    monkeypatch.setattr(forcing, "pack", with_wrong_places)
    taught = make_forcing(tiny("llava"), dtype)
    rows = make_rows(taught)
    with torch.inference_mode():
        [ours] = taught.predict([rows])
        torch.testing.assert_close(ours, taught.predict_apart(rows, {}), rtol=0, atol=1e-4)
    assert "packed rows are off" in caplog.text


def mix_rows(model):
    """A family whose rows change each other: every row but the first of a batch counts its places by two."""
    inner = model.forward

    def forward(*args, **kwargs):
        ids = kwargs["input_ids"]
        if len(ids) > 1 and "position_ids" not in kwargs:
            steps = 1 + (torch.arange(len(ids)) > 0).long()
            kwargs["position_ids"] = torch.arange(ids.shape[1])[None] * steps[:, None]
        return inner(*args, **kwargs)

    forward.__signature__ = __import__("inspect").signature(inner)
    return forward


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_16_bits_hide_is_found_and_the_weights_stay_as_they_were(dtype, tiny, monkeypatch):
    taught = make_forcing(tiny("llava"), dtype)
    before = {name: one.clone() for name, one in taught._model.state_dict().items()}
    inner = taught._model.forward

    def move_a_little(*args, **kwargs):
        found = inner(*args, **kwargs)
        if len(kwargs["input_ids"]) > 1:
            found.logits = found.logits.clone()
            found.logits[..., 0] += 1e-3  # in 16 bits far less than rounding
        return found

    move_a_little.__signature__ = __import__("inspect").signature(inner)
    monkeypatch.setattr(taught._model, "forward", move_a_little)
    with torch.inference_mode():
        assert not taught.ways().side_by_side
    after = taught._model.state_dict()
    assert all(torch.equal(after[name], one) and after[name].dtype == one.dtype for name, one in before.items())
    assert not any(one.is_inference() for one in taught._model.parameters())


def test_without_room_for_wider_weights_16_bits_decide(tiny, monkeypatch):
    monkeypatch.setattr(rounding, "_find_room", lambda device: 0)
    ways = make_forcing(tiny("llava"), torch.bfloat16).ways()
    assert ways.packed and ways.side_by_side


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_family_whose_rows_change_each_other_is_computed_row_by_row(dtype, tiny, caplog, monkeypatch):
    taught = make_forcing(tiny("llava"), dtype)
    alone = [taught._predict_whole([row], {}) for row in make_rows(taught)]
    monkeypatch.setattr(taught._model, "forward", mix_rows(taught._model))
    rows = make_rows(taught)
    with torch.inference_mode():
        ours = taught.predict_apart(rows, {})
        together = taught._predict_whole(rows, {})
    assert not taught.ways().side_by_side
    assert taught.packs()  # a tree has positions of its own
    assert "gives other numbers to whole rows in a batch" in caplog.text
    assert torch.equal(ours, torch.cat(alone))
    assert not torch.allclose(ours, together, atol=0.3)


def test_features_that_a_family_does_not_take_back_are_not_shared(tiny, caplog, monkeypatch):
    taught = make_forcing(tiny("llava"))
    encode = taught._vision.encode

    def lose_half(vision):
        features = encode(vision)
        features.output.pooler_output = [part * 0.5 for part in features.output.pooler_output]
        return features

    monkeypatch.setattr(taught._vision, "encode", lose_half)
    rows = make_rows(taught)
    with torch.inference_mode():
        ours = taught.predict_apart(rows, {})
        plain = [
            taught.predict_alone(taught._encoder.encode_prompt(row.prompt, row.image), row.completion) for row in rows
        ]
    assert not taught._vision.can_share
    assert taught.ways().side_by_side
    assert "encodes its image for each pair" in caplog.text
    torch.testing.assert_close(ours, torch.cat(plain), rtol=0, atol=1e-4)


def test_token_types_that_nobody_knows_are_an_obstacle(tiny, caplog, monkeypatch):
    family = tiny("gemma3")
    monkeypatch.setattr(family.model.config, "model_type", "gemma99")
    assert not make_forcing(family).packs()
    assert "what it does with token_type_ids is not known" in caplog.text


def test_a_family_without_chats_that_have_no_picture_packs_those_that_have(tiny, monkeypatch):
    taught = make_forcing(tiny("llava"))
    encode = taught._encoder.encode_prompt

    def need_picture(prompt, image, *more):
        if image is None:
            raise ValueError("there is no picture")
        return encode(prompt, image, *more)

    monkeypatch.setattr(taught._encoder, "encode_prompt", need_picture)
    assert taught.packs()


def test_rows_that_hide_their_picture_are_computed_whole(tiny):
    taught = make_forcing(tiny("llava"))
    rows = make_rows(taught)
    hidden = [replace(row, hide_image=True) for row in rows]
    with torch.inference_mode():
        seen, unseen = taught.predict([rows, hidden])
    assert not torch.allclose(seen, unseen, atol=1e-2)


def test_where_a_prompts_tokens_stand_is_asked_once_for_all_its_rows(tiny, monkeypatch):
    family = tiny("qwen2_vl")
    taught = make_forcing(family)
    kind, asked = type(family.model.base_model), []
    find = kind.get_rope_index
    with taught._encoder.batch():
        prompts = [taught._encoder.encode_prompt(text, make_picture(0)) for text in ("What?", "Where?")] * 3
    rows = [prompt.ids + (1, 2, 3, 4)[:length] for length, prompt in enumerate(prompts)]
    alone = [make_paths(family.model, [prompt], [ids], [0])[0] for prompt, ids in zip(prompts, rows, strict=True)]
    monkeypatch.setattr(kind, "get_rope_index", wraps(find)(lambda *args, **kw: asked.append(1) or find(*args, **kw)))
    together = make_paths(family.model, prompts, rows, [0] * 6)
    assert len(asked) == 2
    for one, other in zip(together, alone, strict=True):
        assert (one.ids, one.positions.tolist()) == (other.ids, other.positions.tolist())


def test_a_tree_shares_what_rows_begin_with_and_nothing_else():
    image, one, two = 9, 1, 2
    paths = [
        RowPath((5, image, image, 7, 1), one),
        RowPath((5, image, image, 7, 2), one),
        RowPath((5, image, image, 7, 1), two),
    ]
    [(packed, numbers)] = pack(paths, [0, 0, 0], image, pad=0)
    assert numbers == [0, 1, 2]
    assert packed.ids.tolist() == [[5, 9, 9, 7, 1, 2, 9, 9, 7, 1]]
    assert packed.positions.tolist() == [[0, 1, 2, 3, 4, 4, 1, 2, 3, 4]]
    assert packed.images == (one, two)
    assert packed.rows[2] == (0, (0, 6, 7, 8, 9))
    sees = packed.sight.table()[0, 0]
    assert sees[5].nonzero().flatten().tolist() == [0, 1, 2, 3, 5]
    assert sees[9].nonzero().flatten().tolist() == [0, 6, 7, 8, 9]


def test_trees_of_like_length_come_together_and_padding_sees_itself_alone():
    paths = [RowPath(tuple(range(10, 10 + length)), 0) for length in (4, 20, 5)]
    batches = list(pack(paths, [0, 1, 2], None, pad=0))
    assert [numbers for _, numbers in batches] == [[0, 2], [1]]
    packed = batches[0][0]
    assert packed.ids[0].tolist() == [10, 11, 12, 13, 0]
    sees = packed.sight.table()[0, 0]
    assert sees[4].nonzero().flatten().tolist() == [4]
    assert not sees[:4, 4].any()
