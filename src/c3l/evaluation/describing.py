"""What a report says besides its figures: how it was asked and read."""

import json

from c3l.evaluation.judges import Judge
from c3l.evaluation.panel import ReviewLog
from c3l.evaluation.task import Benchmark
from c3l.models.refusals import tell_left_out
from c3l.records import Provenance
from c3l.settings.schema import RunConfig

LOST = ("left_out", "rotations", "thoughts", "blind_thoughts", "respelled", "reviews")  # for a command's summary


def describe_setup(
    benchmark: Benchmark, judge: Judge | None, log: ReviewLog, config: RunConfig, length: int, maker: Provenance
) -> dict[str, str]:
    """What the figures depend on.

    Args:
        benchmark: What was asked.
        judge: Who reviewed, after the last review: a server may have refused some of its settings.
        log: What came back from the judge.
        config: How it was asked.
        length: New tokens that an answer may have.
        maker: The model, with its notes.
    """
    about = {
        "prompt": benchmark.items[0].prompt,
        "decoding": _tell_decoding(length, maker),
        "interval": "95%, bootstrap over units",
    }
    if judge is not None:
        rules = config.evaluation.judge.model_dump(include={"repeats", "swap", "attempts"})
        about |= {"judge": judge.name, "judge_settings": json.dumps({**rules, **judge.settings})}
        about |= {"rubric": str(getattr(benchmark, "rubric", "")), "reviews": log.describe()}
    if left_out := getattr(benchmark, "left_out", 0):
        about["left_out"] = f"{left_out} questions about videos without a frame"
    if incomplete := getattr(benchmark, "incomplete", 0):
        about["rotations"] = f"{incomplete} questions have fewer rotations in the file than options"
    if maker.notes:
        about["notes"] = "; ".join(maker.notes)
    return about


def _tell_decoding(length: int, maker: Provenance) -> str:
    """How answers were drawn, and how long they may be: a server may refuse to be told either."""
    is_own, is_endless = (tell_left_out(name) in maker.notes for name in ("temperature", "max_completion_tokens"))
    drawn = "at the server's own temperature" if is_own else "greedy"
    return f"{drawn}, {'with no limit of ours on' if is_endless else f'at most {length}'} new tokens"
