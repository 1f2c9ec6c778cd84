"""The oracle behind an endpoint, asked by the client that judges LLaVA-Bench."""

import json
from threading import Thread

import pytest
from studies.picture_world.oracle import Oracle
from studies.picture_world.scenes import Placed, Scene
from studies.picture_world.serve_judge import ThreadingHTTPServer, make_handler, read_scenes, review

from c3l.evaluation.judges import EndpointJudge
from c3l.evaluation.llava_bench import Rule, _compose

SCENE = Scene("s", (Placed(("dog", "animal"), "brown", (0.1, 0.1, 0.5, 0.5)),))
SCENES, ORACLE = {"A dog.": SCENE}, Oracle({"dog", "cat", "animal"})


def ask(first, second, context="A dog."):
    return _compose(context, "Is there a cat in the picture?", first, second, Rule("Assistant", "Mark them."))


@pytest.mark.parametrize(
    ("first", "second", "marks"),
    [
        ("No.", "Yes, there is a cat.", "10 1"),
        ("Yes.", "No, there is no cat in the picture.", "1 10"),
        ("No.", "Blue.", "10 5"),
    ],
)
def test_marks_follow_the_truth(first, second, marks):
    assert review(ask(first, second), SCENES, ORACLE).splitlines()[0] == marks


def test_another_picture_or_prompt_gets_no_marks():
    for prompt in (ask("No.", "No.", context="A cat."), "Hello?"):
        assert not review(prompt, SCENES, ORACLE)[0].isdigit()


def test_the_client_reads_the_review():
    with ThreadingHTTPServer(("127.0.0.1", 0), make_handler(SCENES, ORACLE)) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        judge = EndpointJudge("oracle", f"http://127.0.0.1:{server.server_port}/v1")
        assert judge.ask("", ask("No.", "Yes."), 0).startswith("10 1\n")
        server.shutdown()


def test_scenes_are_found_by_what_stands_in_the_context(tmp_path):
    for name, row in (
        ("open/questions.jsonl", {"image": "s.png", "scene": json.loads(SCENE.to_json())}),
        ("llava_bench/context.jsonl", {"image": "s.png", "caption": "A dog."}),
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(json.dumps(row) + "\n")
    assert read_scenes(tmp_path) == SCENES
