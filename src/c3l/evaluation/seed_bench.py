"""SEED-Bench v1 (Li et al., arXiv 2307.16125): multiple choice over pictures and, by their middle frames, videos."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from c3l.errors import DataError
from c3l.evaluation.choices import equals_letter, match_option, write_question
from c3l.evaluation.task import FloatArray, Item, Prediction, Sums, Tally, TallyBuilder, divide

_SUFFIXES = ("", ".jpg", ".png", ".jpeg")


@dataclass(frozen=True, slots=True)
class _Question:
    item: Item
    unit: str
    options: Mapping[str, str]
    answer: str
    kind: Literal["image", "video"]
    dimension: str


class SeedBench:
    """The questions that can be asked; the unit of the bootstrap is the picture or the video.

    Without frames the videos' questions are left out, and no figure is called ``total``: others' totals hold them.
    """

    name = "seed_bench"
    max_new_tokens = 128  # as LLaVA's evaluation

    def __init__(self, questions: Sequence[_Question], rules: tuple[str, ...], left_out: int) -> None:
        self._questions, self.rules, self.left_out = questions, rules, left_out
        self.items = [question.item for question in questions]
        self._kinds = tuple(dict.fromkeys(question.kind for question in questions))
        self._dimensions = tuple(dict.fromkeys(question.dimension for question in questions))

    def take(self, count: int) -> "SeedBench":
        """The first questions that can be asked."""
        return SeedBench(self._questions[:count], self.rules, self.left_out)

    def tally(self, predictions: Mapping[str, Prediction], rule: str) -> Tally:
        """Count the right answers of every kind and dimension."""
        groups = [*self._kinds, *self._dimensions]
        builder = TallyBuilder([f"{count}/{group}" for group in groups for count in ("n", "right")])
        unparsed = failed = 0
        for question in self._questions:
            prediction = predictions[question.item.item_id]
            letter = None if prediction.failed else _READERS[rule](prediction, question.options)
            failed += bool(prediction.failed)
            unparsed += letter is None and not prediction.failed
            for group in (question.kind, question.dimension):
                builder.add(question.unit, **{f"n/{group}": 1, f"right/{group}": letter == question.answer})
        return builder.build(items=len(self.items), unparsed=unparsed, failed=failed)

    def figures(self, sums: Sums) -> dict[str, FloatArray]:
        """``total`` (only with videos), ``image``, ``video``, then every dimension; each over its questions."""
        groups = [*self._kinds, *self._dimensions]
        figures = {group: divide(sums[f"right/{group}"], sums[f"n/{group}"]) for group in groups}
        if "video" not in self._kinds:
            return figures
        right, count = (sum(sums[f"{name}/{kind}"] for kind in self._kinds) for name in ("right", "n"))
        return {"total": divide(right, count), **figures}  # type: ignore[arg-type]

    def describe(self) -> Iterator[dict[str, str]]:
        """What is known of every item, in the columns of VLMEvalKit."""
        for one in self._questions:
            kinds = {"answer": one.answer, "category": one.dimension}
            yield {"index": one.item.item_id, "question": one.item.prompt, **one.options, **kinds}


def read_seed_bench(
    file: Path, frames: str | None, by: Literal["generation", "likelihood"], image_root: Path
) -> SeedBench:
    """The questions of ``SEED-Bench.json``.

    Args:
        file: The file.
        frames: Folder below the image root with ``<question_id>.jpg`` or ``.png``, the middle frame of each video.
        by: ``generation``: a letter is written, as LLaVA does; ``likelihood``: the likeliest choice, as the authors do.
        image_root: Where the pictures lie, to find out how their names end.

    Raises:
        DataError: If the file is another one.
    """
    try:
        content = json.loads(file.read_bytes())
        if not (isinstance(content, dict) and {"question_type", "questions"} <= content.keys()):
            raise ValueError("it is no object with question_type and questions")
        names = {number: name for name, number in content["question_type"].items()}
        rows = [(row, _find_image(row, frames, image_root)) for row in content["questions"]]
        asked = [_read_row(row, image, by, names) for row, image in rows if image is not None]
    except KeyError as error:
        raise DataError(f"cannot read {file}: {error} is missing; expected SEED-Bench.json") from None
    except (TypeError, AttributeError):
        raise DataError(f"cannot read {file}: its questions have another shape; expected SEED-Bench.json") from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {file}: {error}; expected SEED-Bench.json") from None
    seen = Counter(question.item.item_id for question in asked)
    if twice := [name for name, count in seen.items() if count > 1]:
        raise DataError(f"question {twice[0]} comes twice in {file}")
    rules = ("llava", "match") if by == "generation" else ("likelihood",)
    return SeedBench(asked, rules, len(rows) - len(asked))


def _find_image(row: Mapping[str, Any], frames: str | None, root: Path) -> str | None:
    """The picture's path; None for a video without a frame. One that is not there is for the runner to tell."""
    if row["data_type"] == "image":
        return next(iter(_present(str(row["data_id"]), root)), str(row["data_id"]))
    return next(_present(f"{frames}/{row['question_id']}", root), None) if frames else None


def _present(name: str, root: Path) -> Iterator[str]:
    return (name + suffix for suffix in _SUFFIXES if (root / (name + suffix)).is_file())


def _read_row(row: Mapping[str, Any], image: str, by: str, names: Mapping[int, str]) -> _Question:
    options = {letter: str(row[f"choice_{letter.lower()}"]) for letter in "ABCD"}
    answer = str(row["answer"]).strip()
    if answer not in options:
        raise ValueError(f"question {row['question_id']} has the answer {answer!r}")
    question, name = str(row["question"]), str(row["question_id"])
    if by == "likelihood":
        item = Item(name, image, question, tuple(options.values()))
    else:
        item = Item(name, image, write_question(question, options))
    return _Question(item, str(row["data_id"]), options, answer, row["data_type"], names[row["question_type_id"]])


def _likeliest(prediction: Prediction, options: Mapping[str, str]) -> str | None:
    """The choice with the highest mean log-probability; of equal ones the first."""
    if not prediction.likelihoods:
        return None
    return list(options)[prediction.likelihoods.index(max(prediction.likelihoods))]


_READERS = {
    "llava": lambda prediction, options: equals_letter(prediction.text, options),
    "match": lambda prediction, options: match_option(prediction.text, options),
    "likelihood": _likeliest,
}
