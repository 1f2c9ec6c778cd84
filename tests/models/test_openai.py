"""A served model, on a server of this machine that misbehaves as they do: what is sent, read, told, refused."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from c3l.cli.main import main
from c3l.errors import BackendError, ConfigError
from c3l.method.prompts import load_templates
from c3l.models.interface import GenerateRequest, Sampling
from c3l.models.load import load_finetunable, load_model, load_trainable, weights_hash
from c3l.models.openai import to_uri
from c3l.settings.load import dump_config, load_config
from c3l.settings.schema import RunConfig
from chat_server import Reply, Server, completion, refusal, refuse_as_new_models, serve
from fakes import FakeModel
from runs import draw_pictures

pytest.importorskip("openai")

PAIRS = "\n".join(f"Question {n}: What is thing {n}?\nAnswer {n}: It is red." for n in range(1, 4))
Body = Mapping[str, Any]


def words(body: Body) -> str:
    """A text that hangs on the seed."""
    return f"A text of seed {body.get('seed')}."


@contextmanager
def served(answer: Callable[[Body], Reply] = lambda body: completion(words(body))) -> Iterator[Server]:
    with serve(lambda number: answer(server.bodies[number])) as server:
        yield server


def configure(server: Server, *overrides: str) -> RunConfig:
    return load_config(None, ["model.name=openai:tiny", f"model.endpoint={server.url}", *overrides])


def load(server: Server, *overrides: str) -> Any:
    return load_model(configure(server, *overrides).model, 0)


SAMPLING = Sampling(0.7, 0.9, 32)


def ask(model: Any, *requests: GenerateRequest, sampling: Sampling = SAMPLING) -> list[Any]:
    return list(model.generate(requests, sampling))


def request(number: int = 0, image: Image.Image | None = None) -> GenerateRequest:
    return GenerateRequest(f"r{number}", image, f"Prompt {number}?", seed=number + 7)


def test_what_is_sent_is_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with served() as server:
        model = load(server, "model.image_side=32")
        before = len(server.bodies)
        [one] = ask(model, request(3, Image.new("RGB", (64, 40), "red")))
        body = server.bodies[before]
    assert (one.request_id, one.text, one.finish_reason) == ("r3", "A text of seed 10.", "stop")
    assert {name: body[name] for name in ("model", "temperature", "top_p", "max_tokens", "seed")} == {
        "model": "tiny", "temperature": 0.7, "top_p": 0.9, "max_tokens": 32, "seed": 10,
    }  # fmt: skip
    shown, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "Prompt 3?"}
    sent = Image.open(io.BytesIO(base64.b64decode(shown["image_url"]["url"].partition(",")[2])))
    assert (sent.size, sent.getpixel((5, 5))[0] > 240) == ((32, 20), True)
    assert server.keys[-1] == "Bearer secret"


def test_images_are_sent_as_they_are_where_no_size_is_said() -> None:
    image = Image.new("RGB", (2000, 10))
    for side, size in ((None, (2000, 10)), (1024, (1024, 5)), (4000, (2000, 10))):
        content = base64.b64decode(to_uri(image, side).removeprefix("data:image/jpeg;base64,"))
        assert Image.open(io.BytesIO(content)).size == size
    assert image.size == (2000, 10)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (words, ("another seed gives another text", "the same seed gives the same text")),
        (lambda body: "always this", ("another seed gives the same text, so temperature or seed are not heeded",)),
    ],
)
def test_what_the_server_heeds_is_found_out_and_kept(write: Callable[[Body], str], told: tuple[str, ...]) -> None:
    with served(lambda body: completion(write(body))) as server:
        notes = load(server).provenance.notes
    assert all(any(line in note for note in notes) for line in told)
    assert any(server.url in note for note in notes)


def follow(body: Body) -> Reply:
    """A reply that follows the schema it is sent, of one key or of pairs."""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    if "pairs" in schema.get("properties", {}):
        return completion(json.dumps({"pairs": [{"question": "What?", "answer": "A dog."}]}))
    return completion(json.dumps(dict.fromkeys(schema["properties"], "so"))) if schema else completion(words(body))


def refuse_formats(body: Body) -> Reply:
    if "response_format" in body:
        return refusal("Unknown parameter: 'response_format'.", "response_format", "unknown_parameter")
    return completion(words(body))


@pytest.mark.parametrize(
    ("answer", "sent", "told"),
    [
        (follow, True, "replies follow a JSON schema (response_format)"),
        (lambda body: completion(words(body)), False, "replies do not follow a JSON schema (response_format)"),
        (refuse_formats, False, "the server refuses response_format, and uses its own"),
    ],
)
def test_a_schema_is_sent_where_the_server_holds_the_model_to_it(answer, sent, told) -> None:
    schema = load_templates()["conversation_json"].schema
    with served(answer) as server:
        model = load(server)
        assert not any("response_format" in body for body in server.bodies), "it costs nothing where none is wanted"
        [one] = ask(model, replace(request(), schema=schema))
        [two] = ask(model, replace(request(1), schema=schema))
        [plain] = ask(model, request(2))
    assert [("response_format" in body) for body in server.bodies[-3:]] == [sent, sent, False]
    assert told in model.provenance.notes
    if sent:
        assert json.loads(two.text)["pairs"]
        assert server.bodies[-3]["response_format"]["json_schema"]["schema"] == json.loads(schema)
    assert "seed" in plain.text and one.finish_reason == "stop"


def test_a_server_that_forgets_seeds_is_told() -> None:
    count = Counter[str]()

    def anew(body: Body) -> Reply:
        count["asked"] += 1
        return completion(f"text {count['asked']}")

    with served(anew) as server:
        assert any("a run that is made again differs" in note for note in load(server).provenance.notes)


def test_a_server_that_draws_by_a_generation_config_alone_gets_one() -> None:
    def as_transformers(body: Body) -> Reply:
        rules = json.loads(body.get("generation_config", "{}"))
        return completion(words(body) if rules.get("do_sample") else "greedy")

    with served(as_transformers) as server:
        model = load(server)
        drawn, greedy = ask(model, request(1))[0], ask(model, request(1), sampling=Sampling(0.0))[0]
    assert (drawn.text, greedy.text) == ("A text of seed 8.", "greedy")
    assert any("another seed gives another text" in note for note in model.provenance.notes)


def test_texts_come_in_the_order_of_the_requests_and_tokens_are_counted() -> None:
    def counted(body: Body) -> Reply:
        status, reply = completion(words(body))
        return status, reply | {"usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}

    with served(counted) as server:
        model = load(server, "model.concurrency=4")
        made = ask(model, *(request(number) for number in range(9)))
    assert [one.text for one in made] == [f"A text of seed {number + 7}." for number in range(9)]
    assert model.take_usage() == {"tokens_in": 45, "tokens_out": 18}
    assert model.take_usage() == {"tokens_in": 0, "tokens_out": 0}


def test_what_a_server_cuts_filters_or_refuses_is_told_and_the_next_goes_on() -> None:
    def moody(body: Body) -> Reply:
        asked = body["messages"][0]["content"][-1]["text"]
        replies = {
            "Prompt 0?": completion("Half a", "length"),
            "Prompt 1?": completion("", "content_filter"),
            "Prompt 2?": refusal("This prompt was flagged by our content policy."),
            "Prompt 3?": completion(None, "length", reasoning_content="I think"),
            "Prompt 4?": completion("\n", reasoning="<think>I think</think>"),
        }
        return replies.get(asked, completion(words(body)))

    with served(moody) as server:
        made = ask(load(server), *(request(number) for number in range(6)))
    assert [one.finish_reason for one in made] == ["length", "refused", "refused", "length", "stop", "stop"]
    assert "flagged" in made[2].problem
    assert [one.text for one in made[3:5]] == ["<think>I think", "<think>I think</think>"]


def test_parameters_that_a_server_refuses_are_sent_otherwise_from_then_on() -> None:
    def strict(body: Body) -> Reply:
        if "seed" in body:
            return refusal("Unrecognized request argument supplied: seed", "seed", "unknown_parameter")
        return refuse_as_new_models(body) or completion("Well.")

    with served(strict) as server:
        [one] = ask(load(server), request())
        last = server.bodies[-1]
    assert one.text == "Well."
    assert last["max_completion_tokens"] == 32
    assert not {"max_tokens", "temperature", "seed"} & last.keys()


def test_a_parameter_that_threads_find_refused_together_is_left_out_and_told() -> None:
    def strict(body: Body) -> Reply:
        if body.get("top_p", 1) != 1:
            return refusal("Unrecognized request argument supplied: top_p", "top_p", "unknown_parameter")
        return completion(words(body))

    with served(strict) as server:
        model = load(server)
        assert len(ask(model, *(request(number) for number in range(8)))) == 8
        assert sum("refuses top_p" in note for note in model.provenance.notes) == 1


def test_a_strict_server_that_always_says_the_same_is_taken_as_it_is() -> None:
    def strict(body: Body) -> Reply:
        if "generation_config" in body:
            return refusal("Unrecognized request argument supplied: generation_config", "generation_config")
        return completion("" if body["max_tokens"] == 24 else "Well.")

    with served(strict) as server:
        model = load(server)
        assert ask(model, request())[0].text == "Well."
        assert any("could not be seen" in note for note in model.provenance.notes)


def test_a_server_that_stumbles_is_asked_again_and_one_that_is_gone_is_one_line(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    stumbles = iter([(500, "oops"), (429, "slow down"), (503, "")])

    with served(lambda body: next(stumbles, None) or completion(words(body))) as server:
        assert ask(load(server), request())[0].text == "A text of seed 7."
    with (
        served(
            lambda body: refusal("Incorrect API key provided: secret.", code="invalid_api_key", status=401)
        ) as server,
        pytest.raises(BackendError, match=r"got no text from tiny at http.*OPENAI_API_KEY") as caught,
    ):
        load(server)
    assert "secret" not in str(caught.value)


def test_what_it_cannot_do_is_refused_with_who_can() -> None:
    with served() as server:
        model, config = load(server), configure(server)
        for act in (model.no_image_modes, lambda: model.score([], "drop")):
            with pytest.raises(BackendError, match=r"can write, but not score: .*scoring\.model=FOLDER"):
                act()
    with pytest.raises(BackendError, match="not be tuned: name a folder, or a hub id"):
        load_trainable(config.model, config.contrastive, 0)
    with pytest.raises(BackendError, match="not be tuned"):
        load_finetunable(config.model, config.finetuning, 0)
    assert weights_hash(config.model) != weights_hash(configure(server, "model.image_side=64").model)
    assert weights_hash(config.model) == weights_hash(configure(server, "model.concurrency=1").model)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy_tiny: Callable[..., Path]) -> Path:
    monkeypatch.chdir(tmp_path)
    draw_pictures(tmp_path / "pictures", 4)
    copy_tiny("llava", tmp_path / "scorer")
    return tmp_path


def run(server: Server, *more: str) -> int:
    return main(
        ["run", "mine", "--model", "openai:tiny", "--image-root", "pictures", "--set", f"model.endpoint={server.url}",
         "--set", "rounds=0", "--set", "shard_size=1", *more]
    )  # fmt: skip


SCORED = ("--set", "scoring.model=scorer", "--set", "scoring.no_image=drop", "--set", "model.dtype=float32")


def test_a_served_model_writes_a_run_that_another_scores_and_nothing_is_asked_twice(
    world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails = iter([False] * 6 + [True])  # three probes, three shards, then it is gone

    def write(body: Body) -> Reply:
        if next(fails, False):
            return refusal("Incorrect API key provided", code="invalid_api_key", status=401)
        status, reply = completion(PAIRS if len(body["messages"][0]["content"]) > 1 else words(body))
        return status, reply | {"usage": {"prompt_tokens": 9, "completion_tokens": 30, "total_tokens": 39}}

    with served(write) as server:
        assert run(server, *SCORED) == 1
        asked = len(server.bodies)
        assert "finished shards are kept" in capsys.readouterr().err
        assert run(server, *SCORED) == 0
        again = server.bodies[asked:]
    assert sum(len(body["messages"][0]["content"]) > 1 for body in again) == 1, "three of four pictures were done"
    out = capsys.readouterr()
    assert "draft/generated: 9 tokens read and 30 written" in out.err
    summary = json.loads(out.out.splitlines()[-1])
    assert (summary["images"], summary["exported"]) == (4, 6)
    stage = json.loads((world / "mine/draft/scored/stage.json").read_text())
    assert (stage["provenance"]["backend"], stage["settings"]["model.backend"]) == ("hf", "hf")
    written = json.loads((world / "mine/draft/generated/stage.json").read_text())
    assert written["provenance"]["backend"] == "openai"
    assert written["recorded"]["tokens_out"] == 30
    assert main(["status", "mine"]) == 0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "can write, but not score; name a model that does with --set scoring.model=FOLDER"),
        (("--set", "scoring.model=scorer", "--set", "rounds=1"), "can write, but not be tuned; set rounds=0"),
        (("--set", "scoring.model=scorer", "--set", "finetuning.enabled=true"), "can write, but not be taught"),
    ],
)
def test_what_a_run_cannot_have_of_it_is_told_before_it_is_asked(world, capsys, more, told) -> None:
    with served() as server:
        assert run(server, *more) == 2
        assert told in capsys.readouterr().err
        assert not server.bodies


def test_a_saved_served_model_is_taken_and_another_name_is_another_backend(tmp_path: Path) -> None:
    with served() as server:
        config = configure(server, "scoring.model=builtin")
    (tmp_path / "config.yaml").write_text(dump_config(config))
    saved = load_config(tmp_path / "config.yaml")
    assert (saved.model.backend, saved.scorer.backend) == ("openai", "hf")
    other = load_config(tmp_path / "config.yaml", ["model.name=builtin", "scoring.model=null"])
    assert (other.model.backend, other.scorer.name) == ("hf", "builtin")
    with pytest.raises(ConfigError, match="a served model cannot score"):
        load_config(None, ["scoring.model=openai:tiny"])


def test_it_needs_an_endpoint(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "mine", "--model", "openai:tiny", "--image-root", "pictures"]) == 2
    assert "a served model needs its endpoint" in capsys.readouterr().err


def test_it_is_evaluated_by_what_it_writes(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"question_id": n, "image": f"picture_{n}.png", "text": "Is there a dog in the image?", "label": "yes"}
        for n in range(2)
    ]
    Path("coco_pope_random.json").write_text("\n".join(map(json.dumps, rows)))
    with served(lambda body: completion("Yes, there is.")) as server:
        code = main(
            ["evaluate", "--task", "pope", "--data", "coco_pope_random.json", "--image-root", "pictures", "--out", "o",
             "--model", "openai:tiny", "--set", f"model.endpoint={server.url}"]
        )  # fmt: skip
    assert code == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["scores"]["strict"]["mean_f1"] == 1.0


@contextmanager
def serve_by_transformers(folder: Path) -> Iterator[str]:
    """``transformers serve`` of a folder, in a process of its own; the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder), "--host", "127.0.0.1"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--port", str(port), "--device", "cpu"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def test_a_real_server_draws_by_temperature_and_seed_and_its_end_is_one_line(world: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    folder = world / "scorer"
    with serve_by_transformers(folder) as address:
        config = load_config(None, [f"model.name=openai:{folder}", f"model.endpoint={address}"])
        model = load_model(config.model, 0)
        assert any("another seed gives another text" in note for note in model.provenance.notes)
        image = Image.open(world / "pictures/picture_0.png").convert("RGB")
        made = ask(model, *(request(number, image) for number in range(2)))
        assert [one.request_id for one in made] == ["r0", "r1"]
        assert made[0].text != made[1].text
        assert model.take_usage()["tokens_out"] > 0
    with pytest.raises(BackendError, match=r"got no text from .*finished shards are kept"):
        ask(model, request(0))


def test_a_fake_without_a_count_of_tokens_is_no_served_model() -> None:
    assert not hasattr(FakeModel(), "take_usage")
