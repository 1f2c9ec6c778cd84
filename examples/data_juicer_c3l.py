"""An operator for data-juicer: S(I2C) of every row, by c3l, as a statistic to filter by.

Needs both in one environment: `pip install py-data-juicer` beside c3l. In the recipe:

    dataset_path: images/data_juicer.jsonl   # paths in the rows begin in the file's own folder
    custom_operator_paths: [examples/data_juicer_c3l.py]
    process:
      - c3l_filter:
          model: llava-hf/llava-1.5-7b-hf
          settings: [scoring.no_image=drop]
          min_i2c: 0.1

A row is one image with one question and its answer: in `query` and `response`, or in `text` as c3l's export and
data-juicer's converter of LLaVA data write it. Of each row `c3l_i2c` is its score (null if it has none) and `c3l_error`
why it has none. Such a row is dropped where a limit is set; `stats_export_path` keeps what was said of it.
"""

from functools import cache
from typing import Any

from data_juicer.ops.base_op import OPERATORS, Filter
from data_juicer.utils.constant import Fields
from data_juicer.utils.mm_utils import SpecialTokens

from c3l import Scorer

SCORE, ERROR = "c3l_i2c", "c3l_error"


@cache
def load_scorer(model: str, settings: tuple[str, ...]) -> Scorer:
    """One model a process; outside of the operator, which is hashed and sent to other processes."""
    return Scorer(model, settings=settings)


@OPERATORS.register_module("c3l_filter")
class C3lFilter(Filter):
    """Keeps the rows whose answer depends on the image as much as is asked for."""

    _batched_op = True

    def __init__(
        self,
        model: str = "builtin",
        settings: list[str] | None = None,
        min_i2c: float | None = None,
        max_i2c: float | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Name the model and the limits.

        Args:
            model: `builtin`, a folder, or a hub id.
            settings: As `--set` of c3l takes them, such as `scoring.no_image=drop`. By default the other images of a
                batch stand for "no image": scores then hang on `batch_size`.
            min_i2c: Lowest S(I2C) kept.
            max_i2c: Highest S(I2C) kept.
            args: Of every operator.
            kwargs: Of every operator.
        """
        # data-juicer's own default empties a batch when one row of it fails; here a row says itself that it failed
        kwargs |= {"skip_op_error": False, "num_proc": 1}
        super().__init__(*args, **kwargs)
        self.model, self.settings = model, list(settings or ())
        self.min_i2c, self.max_i2c = min_i2c, max_i2c

    def compute_stats_batched(self, samples: dict[str, list[Any]], *args: Any, **kwargs: Any) -> dict[str, list[Any]]:
        """The score of each row of a batch."""
        stats = samples[Fields.stats]
        rows = [{key: samples[key][place] for key in samples} for place in range(len(stats))]
        read = [self._read(row) for row in rows]
        scored = iter(load_scorer(self.model, tuple(self.settings)).score(row for row in read if isinstance(row, dict)))
        for place, row in enumerate(read):
            if isinstance(row, dict):
                score = next(scored)
                stats[place] = {**stats[place], SCORE: score.i2c, ERROR: score.error}
            else:
                stats[place] = {**stats[place], SCORE: None, ERROR: row}
        return samples

    def process_batched(self, samples: dict[str, list[Any]]) -> list[bool]:
        """Which rows are within the limits."""
        return [self._keeps(stats[SCORE]) for stats in samples[Fields.stats]]

    def _keeps(self, score: float | None) -> bool:
        if score is None:
            return self.min_i2c is None and self.max_i2c is None
        return bool(self.get_keep_boolean(score, self.min_i2c, self.max_i2c))

    def _read(self, row: dict[str, Any]) -> dict[str, Any] | str:
        """A row as c3l scores it, or why it cannot be."""
        images = row.get(self.image_key) or []
        if len(images) != 1:
            return f"bad_row: {len(images)} images, expected one"
        question, answer = row.get(self.query_key), row.get(self.response_key)
        if not (question and answer):
            question, answer = read_text(row.get(self.text_key) or "")
        if not (question and answer):
            return "bad_row: no question with an answer, expected query and response, or [[human]]: and [[gpt]]: once"
        return {"image": images[0], "question": question.replace(SpecialTokens.image, "").strip(), "answer": answer}


def read_text(text: str) -> tuple[str, str]:
    """The question and the answer of a text of one turn; empty if it has another form."""
    text = text.strip().removesuffix(SpecialTokens.eoc).strip()
    parts = text.removeprefix("[[human]]: ").split("\n[[gpt]]: ")
    if len(parts) != 2 or not text.startswith("[[human]]: ") or "[[human]]: " in parts[1] or SpecialTokens.eoc in text:
        return "", ""
    return parts[0].replace(SpecialTokens.image, "").strip(), parts[1]
