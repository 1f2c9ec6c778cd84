"""vLLM in process: the same numbers and greedy texts as transformers, and what it cannot do refused.

It needs vLLM, and so an environment of its own: ``make vllm``; what is refused without it is in
``test_vllm_refusals.py``.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from c3l.cli.main import main
from c3l.errors import BackendError, OutOfMemoryError
from c3l.executors.local import KeptModel
from c3l.models.interface import GenerateRequest, Pair, Sampling, ScoreRequest, Unfit
from c3l.models.load import load_model
from c3l.models.vllm import engine
from c3l.settings.load import load_config
from c3l.settings.schema import RunConfig
from models.vllm_folders import script_for_vllm, write_for_vllm
from runs import draw_pictures
from scores import score_rows
from tiny_models import load_tiny, make_picture

FAMILIES = ("llava", "qwen2_vl")
PARITY = 1e-4  # nats, in float32
SHARE = "model.memory_share=0.1"
PAIRS = "\n".join(f"Question {n}: What is thing {n}?\nAnswer {n}: It is red." for n in range(1, 4))

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("vllm") is None, reason="no vLLM in this environment: make vllm"),
]


def configure(name: object, *overrides: str) -> RunConfig:
    return load_config(None, [f"model.name={name}", "model.dtype=float32", SHARE, *overrides])


def load(name: object, *overrides: str) -> Any:
    return load_model(configure(name, *overrides).model, 0)


@pytest.fixture(scope="module")
def small_engine() -> Iterator[None]:
    """An engine that takes 1 GiB and no cores for itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        yield


@pytest.fixture(scope="module")
def folders(small_engine: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("for_vllm")
    return {family: write_for_vllm(family, root / family) for family in FAMILIES}


@pytest.fixture(scope="module")
def both(folders: dict[str, Path]) -> Callable[[str], tuple[Any, Any]]:
    """A function from a family to its tiny model by vLLM and by transformers."""
    loaded: dict[str, tuple[Any, Any]] = {}

    def find(family: str) -> tuple[Any, Any]:
        if family not in loaded:
            loaded[family] = load(f"vllm:{folders[family]}"), load(folders[family])
        return loaded[family]

    return find


def draw_noise(size: tuple[int, int]) -> Image.Image:
    """A picture in which any other way of resizing gives other pixels."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))


IMAGES = (make_picture(1), make_picture(2, (64, 90)), draw_noise((61, 93)))


def make_requests(images: tuple[Image.Image, ...] = IMAGES) -> list[ScoreRequest]:
    """Two pairs an image, and two other images for each."""
    return [
        ScoreRequest(
            image,
            (Pair(f"a{n}", "What is it?", "A dog."), Pair(f"b{n}", "Is there a cat, or what?", "No, a tram 12.")),
            seed=n,
            others=(make_picture(7), draw_noise((80, 20))),
        )
        for n, image in enumerate(images)
    ]


def list_scores(model: Any, mode: str, requests: list[ScoreRequest]) -> list[Any]:
    return [one for of_request in score_rows(model, requests, mode) for one in of_request]


def flatten(scores: list[Any], name: str) -> list[float]:
    return [number for one in scores for number in getattr(one, name)]


@pytest.mark.parametrize("mode", ["drop", "blank", "noise", "others"])
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_transformers(both: Any, family: str, mode: str) -> None:
    by_vllm, by_hf = both(family)
    found, right = (list_scores(model, mode, make_requests()) for model in (by_vllm, by_hf))
    assert [one.token_ids for one in found] == [one.token_ids for one in right]
    assert [one.tokens for one in found] == [one.tokens for one in right]
    assert {one.token_kl for one in found} == {None}
    with_image, without = flatten(right, "logprobs_with_image"), flatten(right, "logprobs_without_image")
    assert max(abs(p - q) for p, q in zip(with_image, without, strict=True)) > 0.1, "the picture matters"
    assert flatten(found, "logprobs_with_image") == pytest.approx(with_image, abs=PARITY, rel=0)
    assert flatten(found, "logprobs_without_image") == pytest.approx(without, abs=PARITY, rel=0)


def test_another_image_gives_another_score_and_order_and_batch_do_not(both: Any) -> None:
    model, _ = both("llava")
    requests = make_requests()
    whole = score_rows(model, requests, "others")
    turned = score_rows(model, requests[::-1], "others")[::-1]
    single = [score_rows(model, [request], "others")[0] for request in requests]
    first = flatten(whole[0], "logprobs_with_image")
    for one in (turned, single):
        assert flatten(one[0], "logprobs_with_image") == pytest.approx(first, abs=PARITY, rel=0)
        assert [[score.token_ids for score in scores] for scores in one] == [
            [score.token_ids for score in scores] for scores in whole
        ]
    other = score_rows(model, make_requests((make_picture(9),)), "others")
    moved = zip(first, flatten(other[0], "logprobs_with_image"), strict=True)
    assert max(abs(p - q) for p, q in moved) > 0.1


def test_a_system_prompt_stands_before_both_passes(both: Any) -> None:
    by_vllm, by_hf = both("llava")
    assert by_vllm.takes_system and by_hf.takes_system
    requests = [replace(one, system="Be brief.") for one in make_requests()]
    found, right = (list_scores(model, "drop", requests) for model in (by_vllm, by_hf))
    without = list_scores(by_vllm, "drop", make_requests())
    for name in ("logprobs_with_image", "logprobs_without_image"):
        assert flatten(found, name) == pytest.approx(flatten(right, name), abs=PARITY, rel=0)
        assert flatten(found, name) != pytest.approx(flatten(without, name), abs=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_turn_is_scored_after_those_before_it(both: Any, family: str) -> None:
    by_vllm, by_hf = both(family)
    assert by_vllm.takes_turns and by_hf.takes_turns
    said = (("What is it?", "A dog."), ("Where?", "In the garden."))
    plain = [replace(one, pairs=one.pairs[:1]) for one in make_requests()]
    requests = [replace(one, pairs=(replace(one.pairs[0], earlier=said),)) for one in plain]
    found, right = (list_scores(model, "others", requests) for model in (by_vllm, by_hf))
    without = list_scores(by_vllm, "others", plain)
    for name in ("logprobs_with_image", "logprobs_without_image"):
        assert flatten(found, name) == pytest.approx(flatten(right, name), abs=PARITY, rel=0)
        assert flatten(found, name) != pytest.approx(flatten(without, name), abs=0.01)


def test_what_cannot_be_forced_says_why_and_costs_no_other(both: Any) -> None:
    by_vllm, by_hf = both("llava")
    texts = ("A dog.", "", "Say <image>.", "x" * 3000)
    request = ScoreRequest(IMAGES[0], tuple(Pair(f"p{n}", "What is it?", text) for n, text in enumerate(texts)))
    [found], [right] = (score_rows(model, [request], "drop") for model in (by_vllm, by_hf))
    assert len(found[0].token_ids) == 6 and found[1].token_ids == ()
    assert [one.reason for one in found if isinstance(one, Unfit)] == ["control_token_in_text", "too_long"]
    assert found[2] == right[2]


def test_a_mode_that_it_cannot_do_is_refused_with_who_can(both: Any) -> None:
    model, _ = both("llava")
    assert model.no_image_modes() == {"drop", "blank", "noise", "others"}
    with pytest.raises(BackendError, match=r"cannot leave the image out by 'mask' with vLLM.*take the folder itself"):
        score_rows(model, make_requests(), "mask")


def ask(seed: int = 5) -> list[GenerateRequest]:
    return [
        GenerateRequest(f"{n}{prompt}", image, prompt, seed + n)
        for n, image in enumerate((*IMAGES, None))
        for prompt in ("What is it?", "Is there a dog, or none?")
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_texts_are_those_of_transformers(both: Any, family: str) -> None:
    by_vllm, by_hf = both(family)
    greedy = Sampling(temperature=0.0, max_new_tokens=24)
    found = by_vllm.generate(ask(), greedy)
    assert found == by_hf.generate(ask(), greedy)
    assert len({one.text for one in found}) > 4, "pictures and prompts matter"


def test_a_seed_repeats_its_text_and_another_gives_another(both: Any) -> None:
    model, _ = both("llava")
    sampling = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=24)
    first = model.generate(ask(), sampling)
    assert first == model.generate(ask(), sampling)
    assert first[::-1] == model.generate(ask()[::-1], sampling)
    others = model.generate(ask(seed=2**63 + 50), sampling)
    assert all(one.text != other.text for one, other in zip(first, others, strict=True))


def test_a_text_ends_where_the_positions_do(both: Any) -> None:
    by_vllm, by_hf = both("llava")
    greedy = Sampling(temperature=0.0, max_new_tokens=40)
    requests = [GenerateRequest(f"{n}", None, "x" * n, 0) for n in (2015, 3000)]
    found, right = by_vllm.generate(requests, greedy), by_hf.generate(requests, greedy)
    assert [one.finish_reason for one in found] == ["length", "too_long"]
    assert found == right


def test_in_bfloat16_it_differs_by_rounding_alone(both: Any, folders: dict[str, Path]) -> None:
    _, by_hf = both("llava")
    model = load_model(
        load_config(None, [f"model.name=vllm:{folders['llava']}", "model.dtype=bfloat16", SHARE]).model, 0
    )
    assert model.provenance.dtype == "bfloat16"
    found, right = (list_scores(one, "drop", make_requests()) for one in (model, by_hf))
    for name in ("logprobs_with_image", "logprobs_without_image"):
        gaps = [a - b for a, b in zip(flatten(found, name), flatten(right, name), strict=True)]
        assert 0 < float(np.sqrt(np.mean(np.square(gaps)))) < 0.25
    model.close()
    assert list_scores(both("llava")[0], "drop", make_requests()), "another engine goes on when one is let go"


def test_the_executor_lets_go_of_one_before_it_loads_the_next(folders: dict[str, Path]) -> None:
    kept = KeptModel()
    first = kept(configure(f"vllm:{folders['llava']}").model, 0)
    assert score_rows(first, make_requests()[:1], "drop")
    second = kept(configure(f"vllm:{folders['qwen2_vl']}").model, 0)
    assert (first._engine._llm, first._engine in engine._LIVING) == (None, False)
    assert score_rows(second, make_requests()[:1], "drop")
    kept.forget()
    assert second._engine not in engine._LIVING


def test_after_running_out_of_memory_it_answers_what_is_asked_next(both: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = both("llava")
    right = score_rows(model, make_requests(), "drop")

    def run_out() -> None:
        raise torch.OutOfMemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(model._engine._llm.llm_engine, "step", run_out)
        with pytest.raises(OutOfMemoryError, match=r"no room; set model\.memory_share lower"):
            score_rows(model, make_requests(), "drop")
    again = score_rows(model, make_requests()[:1], "drop")
    assert flatten(again[0], "logprobs_with_image") == pytest.approx(
        flatten(right[0], "logprobs_with_image"), abs=PARITY
    )


def test_its_provenance_says_who_computed(both: Any) -> None:
    by_vllm, by_hf = both("llava")
    mine, its = by_vllm.provenance, by_hf.provenance
    assert (mine.backend, mine.weights, mine.dtype, mine.device) == ("vllm", its.weights, "float32", "cpu")
    assert mine.versions["vllm"]
    assert any("generators of its own" in note for note in mine.notes)


def test_pictures_that_are_prepared_otherwise_are_refused(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("c3l.models.vllm.inference.pillow_images", nullcontext)
    folder = shutil.copytree(folders["llava"], tmp_path / "copy")  # vLLM keeps the processor of a folder
    with pytest.raises(BackendError, match=r"prepares the images .* otherwise than transformers .*pixel_values"):
        load(f"vllm:{folder}")


def test_a_folder_that_vllm_cannot_read_is_one_line_that_names_who_can(small_engine: None, tmp_path: Path) -> None:
    load_tiny("llava", tmp_path / "new")  # the names of transformers 5, and heads of another size
    with pytest.raises(BackendError, match=r"vLLM [\d.]+ cannot load the model .*take the folder itself") as caught:
        load(f"vllm:{tmp_path / 'new'}")
    assert "\n" not in str(caught.value)
    with pytest.raises(BackendError, match="this vLLM is built for cpu"):
        load(f"vllm:{tmp_path / 'new'}", "model.device=cuda")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    draw_pictures(tmp_path / "pictures", 3)
    return tmp_path


def test_a_data_set_gets_the_scores_that_transformers_gives_it(world: Path, folders: dict[str, Path]) -> None:
    rows = [
        {"id": f"{n}", "image": f"picture_{n}.png", "conversations": [
            {"from": "human", "value": f"<image>\nWhat is thing {n}?"}, {"from": "gpt", "value": f"It is red {n}."}]}
        for n in range(3)
    ]  # fmt: skip
    Path("data.json").write_text(json.dumps(rows))
    scored = {}
    for name, model in (("by_vllm", f"vllm:{folders['llava']}"), ("by_hf", str(folders["llava"]))):
        command = ["score", "--data", "data.json", "--image-root", "pictures", "--out", f"{name}.jsonl",
                   "--model", model, "--set", "scoring.form=lift", "--set", "model.dtype=float32",
                   "--set", SHARE]  # fmt: skip
        assert main(command) == 0
        scored[name] = [json.loads(line) for line in Path(f"{name}.jsonl").read_text().splitlines()]
    for mine, its in zip(scored["by_vllm"], scored["by_hf"], strict=True):
        assert mine["id"] == its["id"] and mine["status"] == "ok"
        for form in ("lift", "log_ratio", "answer_kl", "weighted_log_ratio", "probability_gain"):
            assert mine[form] == pytest.approx(its[form], abs=PARITY)
        assert mine["vocabulary_kl"] is None and its["vocabulary_kl"] is not None
    assert all(abs(row["log_ratio"]) > 0.01 for row in scored["by_hf"]), "the picture matters"


def test_a_run_is_written_and_scored_by_it(small_engine: None, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script_for_vllm(world / "model", PAIRS)
    command = ["run", "mine", "--model", f"vllm:{world / 'model'}", "--image-root", "pictures", "--set", "rounds=0",
               "--set", "scoring.form=lift", "--set", "scoring.no_image=drop", "--set", "model.dtype=float32",
               "--set", "generation.temperature=0", "--set", SHARE]  # fmt: skip
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["exported"] > 0
    for name in ("generated", "scored"):
        assert json.loads((world / f"mine/draft/{name}/stage.json").read_text())["provenance"]["backend"] == "vllm"
    assert main(["filter", "mine", "--set", "scoring.form=focused_gain"]) == 2
    assert "vLLM gives the probabilities of the answer's tokens alone" in capsys.readouterr().err
