"""SEED-Bench v1 (Li et al., arXiv 2307.16125): multiple choice over images and, by their middle frames, videos."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from c3l.data.choices import write_question
from c3l.data.rejection import is_utf8
from c3l.errors import DataError
from c3l.evaluation.choices import equals_letter, match_option
from c3l.evaluation.fields import Fields
from c3l.evaluation.opening import read_utf8
from c3l.evaluation.pictures import find_ending
from c3l.evaluation.task import FloatArray, Item, Prediction, Sums, Tally, TallyBuilder, divide

_REMEDY = "expected SEED-Bench.json of the first SEED-Bench"
_SECOND = ("level", "subpart", "question_image_type", "question_image_subtype")  # fields of later releases alone
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
    """The questions that can be asked; the unit of the bootstrap is the image or the video.

    Videos without a frame are left out, and then no figure is called ``total``: others' totals hold all of them.
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
        """``total`` (only with all videos), ``image``, ``video``, every dimension; each over its questions."""
        groups = [*self._kinds, *self._dimensions]
        figures = {group: divide(sums[f"right/{group}"], sums[f"n/{group}"]) for group in groups}
        if "video" not in self._kinds or self.left_out:
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
        image_root: Where the images lie, to find out how their names end.

    Raises:
        DataError: If the file is another one.
    """
    names, rows = _read_file(file)
    asked = []
    for fields in rows:
        if (image := _find_image(fields, frames, image_root)) is not None:
            asked.append(_read_row(fields, image, by, names))
    seen = Counter(question.item.item_id for question in asked)
    if twice := [name for name, count in seen.items() if count > 1]:
        raise DataError(f"question {twice[0]} comes twice in {file}")
    rules = ("llava", "match") if by == "generation" else ("likelihood",)
    return SeedBench(asked, rules, len(rows) - len(asked))


def _read_file(file: Path) -> tuple[dict[str, str], list[Fields]]:
    """The names of the dimensions by their numbers, and the questions.

    Raises:
        DataError: If it is another file, such as that of SEED-Bench-2.
    """
    try:
        content = json.loads(read_utf8(file, "SEED-Bench.json"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON ({error}); {_REMEDY}") from None
    if not (isinstance(content, dict) and {"question_type", "questions"} <= content.keys()):
        raise DataError(f"{file} is no object with question_type and questions; {_REMEDY}")
    kinds, questions = content["question_type"], content["questions"]
    if not (isinstance(kinds, dict) and isinstance(questions, list)):
        raise DataError(f"{file} has questions or question_type of another shape; {_REMEDY}")
    rows = []
    for number, row in enumerate(questions, 1):
        if not isinstance(row, dict):
            raise DataError(f"{file}: its question {number} has another shape; {_REMEDY}")
        if strange := [name for name in _SECOND if name in row]:
            raise DataError(f"{file} is of SEED-Bench-2: its question {number} has {strange[0]}; {_REMEDY}")
        rows.append(Fields(file, number, row, _REMEDY))
    if half := [name for name in kinds if not is_utf8(name)]:
        raise DataError(f"{file} names a question_type {half[0]!a:.80} with half a character in it; {_REMEDY}")
    return {str(number): name for name, number in kinds.items()}, rows


def _find_image(fields: Fields, frames: str | None, root: Path) -> str | None:
    """The image's path; None for a video without a frame. One that is not there is for the runner to tell."""
    kind = fields.label("data_type")
    if kind == "image":
        return find_ending(root, fields.key("data_id"))
    if kind != "video":
        later = " of SEED-Bench-2" if "image" in kind else ""
        raise fields.refuse(f"has the data_type {kind!a:.40}{later}, expected image or video")
    return next(_present(f"{frames}/{fields.key('question_id')}", root), None) if frames else None


def _present(name: str, root: Path) -> Iterator[str]:
    return (name + suffix for suffix in _SUFFIXES if (root / (name + suffix)).is_file())


def _read_row(fields: Fields, image: str, by: str, names: Mapping[str, str]) -> _Question:
    options = {letter: fields.choice(f"choice_{letter.lower()}") for letter in "ABCD"}
    answer = fields.label("answer").upper()
    if answer not in options:
        raise fields.refuse(f"has the answer {answer!a:.40}, expected one of {', '.join(options)}")
    kind = fields.key("question_type_id")
    if kind not in names:
        raise fields.refuse(f"has the question_type_id {kind}, which question_type does not name")
    question, name = fields.text("question"), fields.key("question_id")
    if by == "likelihood":
        item = Item(name, image, question, tuple(options.values()))
    else:
        item = Item(name, image, write_question(question, options))
    medium: Literal["image", "video"] = "image" if fields.label("data_type") == "image" else "video"
    return _Question(item, fields.key("data_id"), options, answer, medium, names[kind])


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
