"""LLaVA-Bench (In-the-Wild): a judge that sees no image compares each answer with a reference answer.

    [Context] what the image shows, in words    [Question]    [Assistant 1] reference    [Assistant 2] candidate
    [System] the rule of the question's category  ->  "8 6" on the first line: reference, candidate, each 1 to 10

    relative = 100 * sum(candidate) / sum(reference), over the questions that have a review

The scores depend on the judge and on the wording of the rules, so only scores by the same two compare. The rules
belong to the benchmark's authors: they are read from ``rule.json`` if the user has put it there, else ours are used.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from c3l.data.rejection import is_utf8
from c3l.errors import DataError
from c3l.evaluation.fields import Fields, read_fields
from c3l.evaluation.judges import Judge
from c3l.evaluation.panel import Panel, ReviewLog
from c3l.evaluation.reviews import Marks
from c3l.evaluation.task import FloatArray, Item, Prediction, Sums, Tally, TallyBuilder, divide

Advance = Callable[[int], object]

QUESTIONS, CONTEXT, REFERENCES, RULES = "questions.jsonl", "context.jsonl", "answers_gpt4.jsonl", "rule.json"
OURS = "ours"
CATEGORIES = ("conv", "detail", "complex")
MAX_NEW_TOKENS = 1024

_SHAPE = (
    "Two assistants answered the question above about a picture. You cannot see it; the context says what it shows, "
    "and is true. {aim}\n"
    "Give each answer a mark from 1 to 10, where 10 is best. The order of the answers, their length and their style "
    "are worth nothing by themselves.\n"
    "Begin with one line that holds only the two marks, that of Assistant 1 and then that of Assistant 2, with a "
    "space between them. From the second line on, say what the marks rest on."
)
_AIMS = {
    "conv": "Ask of each answer whether it is true of the picture and answers what was asked, to the point.",
    "detail": "Ask of each answer how much of the picture it tells, how exactly, and whether it invents anything.",
    "complex": "Ask of each answer whether its reasoning is sound, rests on what the picture shows, and settles "
    "the question.",
}
_OTHER_AIM = "Ask of each answer whether it is true of the picture, answers the question, and helps who asked it."
_COUNTS = ("reference", "candidate", "n")  # the first two in the order of a review


@dataclass(frozen=True, slots=True)
class Rule:
    """How the judge is told to review the questions of one category.

    Attributes:
        role: What the two sides are called.
        prompt: What it is to do.
    """

    role: str
    prompt: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What the judge is told about one question.

    Attributes:
        category: Such as ``conv``.
        context: The image in words.
        reference: The answer that a candidate is compared with.
    """

    category: str
    context: str
    reference: str


@dataclass(frozen=True, slots=True)
class LlavaBench:
    """The benchmark, and who reviews.

    A model's figures are over the questions that have a review of its own answer; the difference of two models over
    those that have one of each.

    Attributes:
        items: The questions.
        subjects: What the judge is told of each, by item.
        rules_by_category: How it is told to review.
        rubric: Whose rules: ``ours``, or the SHA-256 of the user's ``rule.json``.
        judge: Who reviews; its name belongs into every result.
        repeats: Reviews an answer and order, averaged.
        swap: Ask in both orders.
        attempts: At most ``attempts * repeats`` reviews are asked for, until ``repeats`` of them can be read.
        advance: Told of each reviewed item.
        log: Told what came back of all that is asked; None: each tally keeps its own.
    """

    items: tuple[Item, ...]
    subjects: Mapping[str, Subject]
    rules_by_category: Mapping[str, Rule]
    rubric: str
    judge: Judge
    repeats: int
    swap: bool
    attempts: int
    advance: Advance = lambda count: None
    log: ReviewLog | None = None

    @property
    def name(self) -> str:
        """Always ``llava_bench``."""
        return "llava_bench"

    @property
    def rules(self) -> tuple[str, ...]:
        """There is one: what the judge says."""
        return ("judge",)

    @property
    def max_new_tokens(self) -> int:
        """As the original."""
        return MAX_NEW_TOKENS

    def take(self, count: int) -> "LlavaBench":
        """The first questions."""
        return replace(self, items=self.items[:count])

    def tally(self, predictions: Mapping[str, Prediction], rule: str) -> Tally:
        """Have every answer reviewed; one without an answer or a review has a row of zeros and is no part of a mean.

        Raises:
            JudgeError: If the judge does not work, or has no text for anybody.
        """
        assert rule in self.rules, rule
        columns = [f"{count}/{category}" for category in self.rules_by_category for count in _COUNTS]
        builder = TallyBuilder([*_COUNTS, *columns])
        panel = Panel(self.judge, self.repeats, self.attempts, self.log or ReviewLog())
        failed = 0
        for item in self.items:
            scores = self._review(panel, item, predictions[item.item_id])
            builder.add(item.item_id)
            if scores is None:
                failed += 1
            else:
                counts = dict(zip(_COUNTS, (*scores, 1.0), strict=True))
                category = self.subjects[item.item_id].category
                builder.add(item.item_id, **counts, **{f"{name}/{category}": it for name, it in counts.items()})
            self.advance(1)
        panel.check()
        return builder.build(items=len(self.items), unparsed=0, failed=failed)

    def figures(self, sums: Sums) -> dict[str, FloatArray]:
        """Relative scores in percent, then means times 10 as the original prints them: whole, and by category."""
        endings = ["", *(f"/{category}" for category in self.rules_by_category)]
        found = {f"relative{end}": 100 * divide(sums[f"candidate{end}"], sums[f"reference{end}"]) for end in endings}
        for end in endings:
            found |= {
                f"{who}{end}": 10 * divide(sums[f"{who}{end}"], sums[f"n{end}"]) for who in ("candidate", "reference")
            }
        return found

    def _review(self, panel: Panel, item: Item, prediction: Prediction) -> Marks | None:
        """The marks of reference and candidate, averaged over orders and repeats; None without an answer or review.

        An order that fails leaves the item without a review: the other alone would favour its first place.
        """
        if prediction.failed:
            return None
        subject = self.subjects[item.item_id]
        rule = self.rules_by_category[subject.category]

        def compare(first: str, second: str) -> Marks | None:
            return panel.review(_compose(subject.context, item.prompt, first, second, rule), rule.role)

        marks = compare(subject.reference, prediction.text)
        if marks is None or not self.swap:
            return marks
        swapped = compare(prediction.text, subject.reference)
        return None if swapped is None else ((marks[0] + swapped[1]) / 2, (marks[1] + swapped[0]) / 2)


def read_llava_bench(
    folder: Path,
    judge: Judge,
    *,
    repeats: int = 1,
    swap: bool = False,
    attempts: int = 3,
    find: Callable[[str], str] = lambda image: image,
) -> LlavaBench:
    """The benchmark in a folder of its own files; images are named relative to its ``images``.

    Args:
        folder: Holds ``questions.jsonl``, ``context.jsonl``, ``answers_gpt4.jsonl`` and perhaps ``rule.json``.
        judge: Who reviews, usually a ``CachedJudge``.
        repeats: Reviews an answer, averaged.
        swap: Ask in both orders and average, against a preference for the first.
        attempts: At most ``attempts * repeats`` reviews are asked for to read ``repeats``.
        find: Gives the path of an image by its name, whose ending may be that of another release.

    Raises:
        DataError: If a file cannot be used, or a question lacks its context, reference or rule.
    """
    questions = _by_key(folder / QUESTIONS, "question_id", ("image", "text", "category"))
    contexts = _by_key(folder / CONTEXT, "image", ("caption",))
    references = _by_key(folder / REFERENCES, "question_id", ("text",))
    images = list(dict.fromkeys(row["image"] for row in questions.values()))
    _need(folder / CONTEXT, images, contexts, "images")
    _need(folder / REFERENCES, questions, references, "questions")
    found = {row["category"] for row in questions.values()}
    categories = [*(name for name in CATEGORIES if name in found), *sorted(found.difference(CATEGORIES))]
    rules, rubric = _read_rules(folder / RULES, categories)
    return LlavaBench(
        items=tuple(Item(name, find(row["image"]), row["text"]) for name, row in questions.items()),
        subjects={
            name: Subject(row["category"], contexts[row["image"]]["caption"], references[name]["text"])
            for name, row in questions.items()
        },
        rules_by_category=rules,
        rubric=rubric,
        judge=judge,
        repeats=repeats,
        swap=swap,
        attempts=attempts,
    )


def _compose(context: str, question: str, first: str, second: str, rule: Rule) -> str:
    """What the judge reads, laid out as the original does."""
    role = rule.role
    return (
        f"[Context]\n{context}\n\n[Question]\n{question}\n\n"
        f"[{role} 1]\n{first}\n\n[End of {role} 1]\n\n"
        f"[{role} 2]\n{second}\n\n[End of {role} 2]\n\n"
        f"[System]\n{rule.prompt}\n\n"
    )


def _by_key(path: Path, key: str, fields: Sequence[str]) -> dict[str, dict[str, str]]:
    """Rows by their key, each with its fields as text.

    Raises:
        DataError: For a row that lacks something, a key that is there twice, or no rows.
    """
    if not path.is_file():
        raise DataError(f"there is no {path}{_tell_others(path)}")
    rows: dict[str, dict[str, str]] = {}
    for row in read_fields(path, "is it the right file? If so, get it anew"):
        name = row.key(key)
        if name in rows:
            raise DataError(f"{path} has {key} {name!a} twice, expected each once; remove one of the rows")
        rows[name] = {field: _text(row, field) for field in fields}
    if not rows:
        raise DataError(f"{path} has no rows, expected one a {key}; get it anew")
    return rows


def _tell_others(path: Path) -> str:
    known = (QUESTIONS, CONTEXT, REFERENCES)
    others = sorted(other.name for other in path.parent.glob("*.json*") if other.name not in (*known, RULES))
    if others:
        return f", but {', '.join(others[:4])}; if one of them is that file, give it its name"
    return "; put the file of LLaVA-Bench there, from where its authors share it"


def _text(row: Fields, field: str) -> str:
    """A field as text; captions may be lists of lines."""
    value = row.row.get(field)
    if field == "caption" and isinstance(value, list) and all(isinstance(line, str) for line in value):
        row = replace(row, row={**row.row, field: "\n".join(value)})
    return row.text(field)


def _need(path: Path, wanted: Sequence[str] | Mapping[str, Any], got: Mapping[str, Any], what: str) -> None:
    missing = [name for name in wanted if name not in got]
    if missing:
        raise DataError(
            f"{path} lacks {len(missing)} of {len(wanted)} {what}, the first is {missing[0]!a}; is it of the same "
            f"release as {QUESTIONS}?"
        )


def _read_rules(path: Path, categories: Sequence[str]) -> tuple[dict[str, Rule], str]:
    if not path.exists():
        ours = {name: _SHAPE.format(aim=_AIMS.get(name, _OTHER_AIM)) for name in categories}
        return {name: Rule("Assistant", prompt) for name, prompt in ours.items()}, OURS
    content = path.read_bytes()
    try:
        theirs = json.loads(content)
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); get it anew, or remove it to use our rules") from None
    return dict(_their_rules(path, theirs, categories)), hashlib.sha256(content).hexdigest()


def _their_rules(path: Path, theirs: Any, categories: Sequence[str]) -> Iterator[tuple[str, Rule]]:
    for name in categories:
        rule = theirs.get(f"llava_bench_{name}") if isinstance(theirs, dict) else None
        role, prompt = (rule.get("role"), rule.get("prompt")) if isinstance(rule, dict) else (None, None)
        if not (isinstance(role, str) and role and isinstance(prompt, str) and prompt and is_utf8(role + prompt)):
            raise DataError(
                f"{path} has no llava_bench_{name} with role and prompt, which the questions need; get it anew, or "
                "remove it to use our rules"
            )
        yield name, Rule(role, prompt)
