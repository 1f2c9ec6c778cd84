"""A hub on this machine, for tests of uploads: it keeps what it is sent."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_" + "s" * 30


@dataclass
class Hub:
    """What it was sent.

    Attributes:
        url: Where it is.
        private: Of each repository, whether it is.
        files: Of all commits, by their path.
        requests: Verb and path of each.
        failing: The number of the request to commit, from 0, that is refused with this status.
    """

    url: str = ""
    private: dict[str, bool] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    failing: dict[int, int] = field(default_factory=dict)
    commits: int = 0


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A hub that takes datasets from whoever has ``TOKEN``."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            hub.requests.append(f"POST {self.path}")
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                return self._reply(401, {"error": "Invalid credentials"})
            if self.path == "/api/repos/create":
                return self._create(json.loads(body))
            if self.path == "/api/validate-yaml":
                return self._reply(200, {"errors": [], "warnings": []})
            if "/preupload/" in self.path:
                names = [one["path"] for one in json.loads(body)["files"]]
                files = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
                return self._reply(200, {"files": files})
            if "/commit/" in self.path:
                return self._commit(body)
            return self._reply(404, {})

        def do_GET(self) -> None:
            hub.requests.append(f"GET {self.path}")
            name = "/".join(self.path.split("?")[0].split("/")[3:5])
            if name not in hub.private:
                return self._reply(404, {})
            if "/tree/" in self.path:
                listed = [{"type": "file", "path": path, "size": 1, "oid": "0" * 40} for path in hub.files]
                return self._reply(200, listed)
            return self._reply(200, {"id": name, "sha": "0" * 40, "private": hub.private[name], "siblings": []})

        def _create(self, asked: dict[str, Any]) -> None:
            name = f"{asked['organization']}/{asked['name']}"
            there = name in hub.private
            hub.private.setdefault(name, asked.get("visibility") == "private" or bool(asked.get("private")))
            self._reply(409 if there else 200, {"url": f"{hub.url}/datasets/{name}"})

        def _commit(self, body: bytes) -> None:
            number, hub.commits = hub.commits, hub.commits + 1
            if number in hub.failing:
                return self._reply(hub.failing[number], {"error": "no room on the hub"})
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del hub.files[line["value"]["path"]]
            self._reply(200, {"success": True, "commitOid": "1" * 40, "commitUrl": f"{hub.url}/datasets/u/n/commit/1"})

        def _reply(self, status: int, content: Any) -> None:
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield hub
    server.shutdown()
