"""Judges: what is sent, what comes back, what is kept, and what is never kept."""

import errno
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import FakeModel

from c3l.data import journal
from c3l.errors import ConfigError, DataError, StorageError
from c3l.evaluation.judges import CachedJudge, EndpointJudge, JudgeError, ModelJudge, NoReviewError

KEY = "a-key-without-the-usual-beginning"

Reply = tuple[int, Any]


def completion(text: str | None, reason: str = "stop") -> Reply:
    choice = {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}
    return 200, {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


@dataclass
class Server:
    """What a server was sent."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@contextmanager
def serve(answer: Callable[[int], Reply], kind: str = "application/json") -> Iterator[Server]:
    """A chat server on this machine; ``answer`` is given the number of the request, from 0."""
    seen = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            seen.keys.append(self.headers["authorization"])
            status, content = answer(len(seen.bodies) - 1)
            body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        seen.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield seen
        server.shutdown()


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
