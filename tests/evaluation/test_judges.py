"""Judges: what is sent, what comes back, what is kept, and what is never kept."""

import errno
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.chat_server import Reply, completion, refusal, refuse_as_new_models, serve
from tests.fakes import FakeModel

from c3l.errors import ConfigError, DataError, StorageError
from c3l.evaluation.judges import CachedJudge, EndpointJudge, JudgeError, ModelJudge, NoReviewError, RefusedError
from c3l.storage import journal

KEY = "a-key-without-the-usual-beginning"


@pytest.fixture(autouse=True)
def _no_proxy_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


class CountingJudge:
    """Says what it was asked, and counts."""

    name = "counting"

    def __init__(self, **settings: float) -> None:
        self.settings: Mapping[str, float] = settings
        self.asked: list[tuple[str, str, int]] = []

    def ask(self, system: str, prompt: str, repeat: int) -> str:
        self.asked.append((system, prompt, repeat))
        return f"{len(self.asked)} 5\n\u2028 näh"


def test_an_endpoint_is_sent_both_turns_and_gives_its_text() -> None:
    with serve(lambda number: completion("8 6\nwell")) as server:
        assert EndpointJudge("some-model", server.url).ask("be fair", "compare", 0) == "8 6\nwell"
    (body,) = server.bodies
    assert body["messages"] == [{"role": "system", "content": "be fair"}, {"role": "user", "content": "compare"}]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("some-model", 0.2, 1024)


@pytest.mark.parametrize(
    ("given", "environment", "sent"), [(None, None, "none"), (None, KEY, KEY), ("given", KEY, "given")]
)
def test_which_key_is_sent(monkeypatch: Any, given: str | None, environment: str | None, sent: str) -> None:
    if environment:
        monkeypatch.setenv("OPENAI_API_KEY", environment)
    with serve(lambda number: completion("8 6")) as server:
        EndpointJudge("m", server.url, api_key=given).ask("", "p", 0)
    assert server.keys == [f"Bearer {sent}"]


def test_a_server_that_stumbles_is_asked_again() -> None:
    with serve(lambda number: completion("8 6") if number == 2 else (500, {"error": "busy"})) as server:
        assert EndpointJudge("m", server.url, retries=2).ask("", "p", 0) == "8 6"
    assert len(server.bodies) == 3


def test_a_server_that_always_fails_is_an_error_that_says_what_to_do() -> None:
    told = pytest.raises(JudgeError, match=r"got no review from m at http.*500.*look at the server")
    with serve(lambda number: (500, {"error": "broken"})) as server, told as caught:
        EndpointJudge("m", server.url, retries=1).ask("", "p", 0)
    assert not isinstance(caught.value, NoReviewError)
    assert len(server.bodies) == 2


def test_nobody_listening_is_an_error() -> None:
    with serve(lambda number: completion("8 6")) as server:
        pass
    with pytest.raises(JudgeError, match="Connection"):
        EndpointJudge("m", server.url, retries=0).ask("", "p", 0)


def test_a_wrong_key_stops_and_is_not_shown() -> None:
    told = pytest.raises(JudgeError, match=r"no such key: \*\*\*")
    with serve(lambda number: (401, {"error": {"message": f"no such key: {KEY}"}})) as server, told as caught:
        EndpointJudge("m", server.url, api_key=KEY).ask("", "p", 0)
    assert not isinstance(caught.value, NoReviewError)
    assert KEY not in str(caught.value)
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "reply",
    [
        (400, {"error": {"message": "too long"}}),
        (422, {"error": {"message": "filtered"}}),
        completion(None, "content_filter"),
        completion(" \n"),
        (200, {"id": "1", "object": "chat.completion", "choices": []}),
    ],
)
def test_a_refused_prompt_is_no_reason_to_stop(reply: Reply) -> None:
    with serve(lambda number: reply) as server, pytest.raises(NoReviewError):
        EndpointJudge("m", server.url).ask("", "p", 0)


def test_parameters_that_a_model_refuses_are_replaced_for_the_rest() -> None:
    with serve(lambda number: refuse_as_new_models(server.bodies[-1]) or completion("8 6")) as server:
        judge = EndpointJudge("m", server.url)
        assert [judge.ask("s", "p", repeat) for repeat in range(2)] == ["8 6", "8 6"]
    names = ("max_tokens", "max_completion_tokens", "temperature")
    sent = [tuple(body.get(name) for name in names) for body in server.bodies]
    assert sent == [(1024, None, 0.2), (None, 1024, 0.2), (None, 1024, None), (None, 1024, None)]
    assert judge.settings == {"max_completion_tokens": 1024, "temperature": "the server's own, others are refused"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("temperature", "litellm.UnsupportedParamsError: m does not support parameters: ['temperature']"),
        ("temperature", "`temperature` is deprecated for this model."),
        ("max_tokens", "Unrecognized request argument supplied: max_tokens"),
        (
            "max_tokens",
            "[{'type': 'extra_forbidden', 'loc': ['body', 'max_tokens'], 'msg': 'Extra inputs are not permitted'}]",
        ),
    ],
)
def test_a_parameter_that_only_the_words_name_is_replaced(name: str, told: str) -> None:
    def answer(number: int) -> Reply:
        return refusal(told, status=422 if "extra" in told else 400) if name in server.bodies[-1] else completion("8 6")

    with serve(answer) as server:
        assert EndpointJudge("m", server.url).ask("s", "p", 0) == "8 6"
    assert len(server.bodies) == 2


def test_a_template_without_a_system_turn_is_sent_one_turn() -> None:
    def answer(number: int) -> Reply:
        first = server.bodies[-1]["messages"][0]["role"]
        return refusal("System role not supported") if first == "system" else completion("8 6")

    with serve(answer) as server:
        assert EndpointJudge("m", server.url).ask("be fair", "compare", 0) == "8 6"
    assert server.bodies[-1]["messages"] == [{"role": "user", "content": "be fair\n\ncompare"}]


@pytest.mark.parametrize(
    "reply",
    [
        refusal("Unknown parameter: 'stream_options'.", "stream_options", "unknown_parameter"),
        refusal("max_tokens is too large: 1024. This model supports at most 512 completion tokens.", "max_tokens"),
        refusal("Unsupported value: 'model'", "model"),
        refusal("The model `m` does not exist", None, "model_not_found"),
        refusal("API key not valid. Please pass a valid API key."),
        refusal("no such model", status=404),
        refusal("You have no access", status=403),
        refusal("Unsupported parameter: 'messages' and 'temperature' are not supported", "temperature"),
    ],
)
def test_a_refusal_that_would_repeat_stops_at_the_first(reply: Reply) -> None:
    with serve(lambda number: reply) as server, pytest.raises(JudgeError) as caught:
        EndpointJudge("m", server.url).ask("s", "p", 0)
    assert not isinstance(caught.value, NoReviewError)
    assert len(server.bodies) <= 2  # once more where something else could be sent
    assert " ".join(reply[1]["error"]["message"].split())[:20] in str(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        refusal("This model's maximum context length is 512 tokens. However, you requested 1524 tokens.", "messages"),
        refusal(
            "'max_tokens' is too large: 1024. This model's maximum context length is 1100 tokens and your request 90"
        ),
        refusal("prompt is too long: 9000 tokens > 8000 maximum"),
        refusal("The response was filtered by content management policy", "prompt", "content_filter"),
        refusal("Input was flagged by moderation", status=403),
        refusal("Request body too big", status=413),
    ],
)
def test_a_refusal_of_one_prompt_is_told_apart(reply: Reply) -> None:
    with serve(lambda number: reply) as server, pytest.raises(RefusedError):
        EndpointJudge("m", server.url).ask("s", "p", 0)
    assert len(server.bodies) == 1


def test_a_limit_of_rates_is_waited_for_as_the_server_says() -> None:
    with serve(lambda number: completion("8 6") if number else refusal("slow down", status=429)) as server:
        assert EndpointJudge("m", server.url).ask("s", "p", 0) == "8 6"
    far = serve(lambda number: refusal("slow down", status=429), headers={"retry-after": "900"})
    with far as server, pytest.raises(JudgeError, match=r"slow down.*asks to wait 900 seconds"):
        EndpointJudge("m", server.url).ask("s", "p", 0)
    assert len(server.bodies) == 1


def test_an_answer_in_parts_is_joined_without_its_thoughts() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "3 4"}]}
    parts = [thought, {"type": "text", "text": "8 "}, {"type": "text", "text": "6"}]
    with serve(lambda number: completion(parts)) as server:
        assert EndpointJudge("m", server.url).ask("s", "p", 0) == "8 6"


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (completion(None, reasoning_content="8 6"), "no answer: there is reasoning, but content is empty"),
        (completion("", reasoning="8 6"), "there is reasoning, but content is empty"),
        (completion([{"type": "thinking", "thinking": "8 6"}]), "no answer"),
        (completion(None, "length", reasoning_content="8 6"), r"raise evaluation\.judge\.max_tokens"),
        (completion("", "length"), r"raise evaluation\.judge\.max_tokens"),
        (completion(None, refusal="I will not"), "it refuses, 'I will not'"),
    ],
)
def test_reasoning_is_no_answer_and_what_to_do_is_said(reply: Reply, told: str) -> None:
    with serve(lambda number: reply) as server, pytest.raises(NoReviewError, match=told):
        EndpointJudge("m", server.url).ask("s", "p", 0)


def test_what_was_sent_instead_is_kept_with_the_reviews(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    with serve(lambda number: refuse_as_new_models(server.bodies[-1]) or completion("8 6")) as server:
        first = CachedJudge(EndpointJudge("m", server.url), path)
        first.ask("s", "p", 0)
        again = CachedJudge(EndpointJudge("m", server.url), path)
        assert again.ask("s", "p", 0) == "8 6"
    assert len(server.bodies) == 3
    assert again.settings == first.settings == json.loads(path.read_text())["settings"]
    assert "max_completion_tokens" in again.settings


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
@pytest.mark.parametrize("body", ["<html>", "{}", "[1]"])
def test_a_page_that_is_no_chat_completion_is_an_error(kind: str, body: str) -> None:
    with serve(lambda number: (200, body), kind) as server, pytest.raises(JudgeError) as caught:
        EndpointJudge("m", server.url, retries=0).ask("", "p", 0)
    assert not isinstance(caught.value, NoReviewError)


def test_without_the_client_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ConfigError, match=r"pip install 'c3l\[judge\]'"):
        EndpointJudge("m", "http://127.0.0.1:1/v1")


def test_a_local_judge_reads_text_alone_and_draws_by_prompt_and_repeat() -> None:
    model = FakeModel(lambda request: f"{request.seed} 6")
    judge = ModelJudge(model, "local")
    texts = [judge.ask("be fair", prompt, repeat) for prompt, repeat in [("p", 0), ("p", 0), ("p", 1), ("q", 0)]]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3
    assert model.generated[0].prompt == "be fair\n\np"
    assert {request.image for request in model.generated} == {None}
    assert all(0 <= request.seed < 2**32 for request in model.generated)


def test_a_local_judge_draws_cool() -> None:
    samplings = []

    class Noting(FakeModel):
        def generate(self, requests: Any, sampling: Any) -> Any:
            samplings.append(sampling)
            return super().generate(requests, sampling)

    ModelJudge(Noting(lambda request: "8 6"), "local").ask("", "p", 0)
    assert (samplings[0].temperature, samplings[0].max_new_tokens) == (0.2, 1024)


@pytest.mark.parametrize(
    "model",
    [
        FakeModel(lambda request: "8 6", capacity=0),
        FakeModel(lambda request: "8 6", finish_reason="non_finite_logits"),
        FakeModel(lambda request: " "),
    ],
)
def test_a_local_judge_without_text_has_no_review(model: FakeModel) -> None:
    with pytest.raises(NoReviewError):
        ModelJudge(model, "local").ask("", "p", 0)


def test_a_local_judge_is_not_asked_again_about_a_prompt_that_is_too_long() -> None:
    with pytest.raises(RefusedError, match="too long for the judge local"):
        ModelJudge(FakeModel(lambda request: "", finish_reason="too_long"), "local").ask("", "p", 0)


def test_nothing_is_asked_twice_even_by_another_process(tmp_path: Path) -> None:
    path, judge = tmp_path / "new" / "reviews.jsonl", CountingJudge()
    first = CachedJudge(judge, path)
    texts = [first.ask("s", "p", 0), first.ask("s", "p", 0), first.ask("s", "p", 1), first.ask("s", "q", 0)]
    assert texts[0] == texts[1]
    assert judge.asked == [("s", "p", 0), ("s", "p", 1), ("s", "q", 0)]
    again = CachedJudge(judge, path)
    assert [again.ask("s", "p", 0), again.ask("s", "p", 1), again.ask("s", "q", 0)] == texts[1:]
    assert len(judge.asked) == 3
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(set(row), row["judge"], row["repeat"]) for row in rows] == [
        ({"key", "judge", "repeat", "text"}, "counting", repeat) for repeat in (0, 1, 0)
    ]


def test_another_judge_system_turn_or_temperature_is_asked_anew(tmp_path: Path) -> None:
    path, judge, warm, other = tmp_path / "reviews.jsonl", CountingJudge(), CountingJudge(t=1.0), CountingJudge()
    other.name = "other"
    CachedJudge(judge, path).ask("s", "p", 0)
    for one, system in [(warm, "s"), (other, "s"), (judge, "t")]:
        CachedJudge(one, path).ask(system, "p", 0)
    assert [len(one.asked) for one in (judge, warm, other)] == [2, 1, 1]


def test_a_line_torn_by_a_kill_is_asked_again_and_spoils_nothing(tmp_path: Path) -> None:
    path, judge = tmp_path / "reviews.jsonl", CountingJudge()
    cached = CachedJudge(judge, path)
    for repeat in range(3):
        cached.ask("s", "p", repeat)
    path.write_bytes(path.read_bytes()[:-9])
    assert CachedJudge(judge, path).ask("s", "p", 2).startswith("4 5")
    for repeat in range(3):
        CachedJudge(judge, path).ask("s", "p", repeat)
    assert [repeat for _, _, repeat in judge.asked] == [0, 1, 2, 2]


def test_a_review_is_on_the_disk_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sizes = tmp_path / "reviews.jsonl", []
    monkeypatch.setattr(journal, "sync_file", lambda file: sizes.append(file.stat().st_size))
    CachedJudge(CountingJudge(), path).ask("s", "p", 0)
    assert sizes == [path.stat().st_size]


def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, block: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journal, "write_all", refuse)
    with pytest.raises(StorageError, match="No space left"):
        CachedJudge(CountingJudge(), tmp_path / "reviews.jsonl").ask("s", "p", 0)


@pytest.mark.parametrize("line", ["not JSON", "[]", '{"key": "k"}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, line: str) -> None:
    path, judge = tmp_path / "reviews.jsonl", CountingJudge()
    CachedJudge(judge, path).ask("s", "p", 0)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"line 2 .* remove that line"):
        CachedJudge(judge, path).ask("s", "p", 0)


def test_a_judge_that_fails_leaves_what_it_said_before(tmp_path: Path) -> None:
    path = tmp_path / "reviews.jsonl"
    with serve(lambda number: (500, {}) if number else completion("8 6")) as server:
        judge = CachedJudge(EndpointJudge("m", server.url, retries=0), path)
        judge.ask("s", "p", 0)
        with pytest.raises(JudgeError):
            judge.ask("s", "q", 0)
        assert CachedJudge(EndpointJudge("m", server.url, retries=0), path).ask("s", "p", 0) == "8 6"
    assert len(server.bodies) == 2


def test_the_key_is_in_no_file_and_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with serve(lambda number: completion("8 6")) as server:
        judge = CachedJudge(EndpointJudge("m", server.url, api_key=KEY), tmp_path / "reviews.jsonl")
        judge.ask("s", "p", 0)
    assert server.keys == [f"Bearer {KEY}"]
    assert [path for path in tmp_path.rglob("*") if KEY in path.read_text()] == []
    assert KEY not in caplog.text
