"""A chat server on this machine, for tests of judges behind an endpoint."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any]
SOON = {"retry-after-ms": "1"}


def completion(content: Any, reason: str = "stop", **more: Any) -> Reply:
    """A reply whose message has this content, and more fields."""
    message = {"role": "assistant", "content": content, **more}
    choice = {"index": 0, "finish_reason": reason, "message": message}
    return 200, {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


def refusal(message: str, param: str | None = None, code: str | None = None, status: int = 400) -> Reply:
    """A reply in the words of OpenAI's servers."""
    return status, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


@dataclass
class Server:
    """What a server was sent."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@contextmanager
def serve(
    answer: Callable[[int], Reply], kind: str = "application/json", headers: Mapping[str, str] = SOON
) -> Iterator[Server]:
    """A server; ``answer`` is given the number of the request, from 0."""
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
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        seen.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield seen
        server.shutdown()


def refuse_as_new_models(body: Mapping[str, Any]) -> Reply | None:
    """What models that think say to the parameters of those before them; None if they take the request."""
    if "max_tokens" in body:
        return refusal(
            "Unsupported parameter: 'max_tokens' is not supported here. Use 'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    if body.get("temperature", 1) != 1:
        told = "'temperature' does not support 0.2 with this model. Only the default (1) value is supported."
        return refusal(f"Unsupported value: {told}", "temperature", "unsupported_value")
    return None
