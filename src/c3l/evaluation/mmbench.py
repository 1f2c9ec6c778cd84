"""MMBench: multiple choice, right only if right in every rotation of the options (Liu et al., arXiv 2307.06281)."""

import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from c3l.errors import DataError
from c3l.evaluation.choices import LETTERS, match_option, write_question
from c3l.evaluation.task import FloatArray, Item, Prediction, Sums, Tally, TallyBuilder, divide

ROTATION = 1_000_000  # an index is its question's plus so much a rotation
_ABSENT = ("", "nan")


@dataclass(frozen=True, slots=True)
class _Row:
    item: Item
    group: int
    is_base: bool
    options: Mapping[str, str]
    answer: str
    category: str
    ability: str


class MMBench:
    """All rotations of all questions; the unit of the bootstrap is the question."""

    name = "mmbench"
    rules = ("exact",)
    max_new_tokens = 128  # as LLaVA's evaluation

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._rows = rows
        self.items = [row.item for row in rows]
        self._categories = tuple(dict.fromkeys(row.category for row in rows))
        self._abilities = tuple(dict.fromkeys(row.ability for row in rows))

    def take(self, count: int) -> "MMBench":
        """The first questions with all their rotations."""
        kept = set(list(dict.fromkeys(row.group for row in self._rows))[:count])
        return MMBench([row for row in self._rows if row.group in kept])

    def tally(self, predictions: Mapping[str, Prediction], rule: str) -> Tally:
        """Count the questions that are right in all their rotations, and those right as they stand."""
        names = [f"category:{name}" for name in self._categories] + [f"ability:{name}" for name in self._abilities]
        builder = TallyBuilder(["n", "circular", "vanilla", *(f"{kind}/{n}" for n in names for kind in ("n", "right"))])
        right: dict[int, list[bool]] = defaultdict(list)
        unparsed = failed = 0
        for row in self._rows:
            prediction = predictions[row.item.item_id]
            letter = None if prediction.failed else match_option(prediction.text, row.options)
            failed += bool(prediction.failed)
            unparsed += letter is None and not prediction.failed
            right[row.group].append(letter == row.answer)
            if row.is_base:
                builder.add(str(row.group), n=1, vanilla=letter == row.answer)
        for row in self._rows:
            if row.is_base:
                whole = all(right[row.group])
                kinds = (f"category:{row.category}", f"ability:{row.ability}")
                builder.add(str(row.group), circular=whole)
                builder.add(str(row.group), **{f"n/{kind}": 1 for kind in kinds})
                builder.add(str(row.group), **{f"right/{kind}": whole for kind in kinds})
        return builder.build(items=len(self.items), unparsed=unparsed, failed=failed)

    def figures(self, sums: Sums) -> dict[str, FloatArray]:
        """``circular`` is MMBench's score, ``vanilla`` asks each question once; the others are circular too."""
        figures = {"circular": divide(sums["circular"], sums["n"]), "vanilla": divide(sums["vanilla"], sums["n"])}
        kinds = [f"category:{name}" for name in self._categories] + [f"ability:{name}" for name in self._abilities]
        return figures | {kind: divide(sums[f"right/{kind}"], sums[f"n/{kind}"]) for kind in kinds}

    def describe(self) -> Iterator[dict[str, str]]:
        """What is known of every item, in the columns of VLMEvalKit."""
        for row in self._rows:
            kinds = {"answer": row.answer, "category": row.category, "l2-category": row.ability}
            yield {"index": row.item.item_id, "question": row.item.prompt, **row.options, **kinds}


def read_mmbench(file: Path) -> MMBench:
    """The questions of an MMBench TSV; where it holds no rotations, they are made.

    Raises:
        DataError: If a column is missing, an index is no number or comes twice, an answer is no option, or a picture
            refers to a row that is not there.
    """
    table = list(_read_table(file))
    pictures = {_read_index(file, row, number): row["image"] for number, row in enumerate(table, 1)}
    if len(pictures) < len(table):
        twice = Counter(int(row["index"]) for row in table).most_common(1)[0][0]
        raise DataError(f"{file} has the index {twice} more than once, expected every row to have its own; remove one")
    rows = [_read_row(file, row, pictures) for row in table]
    if all(row.is_base for row in rows):
        rows = [rotated for row in rows for rotated in _rotate(row)]
    bases = {row.group for row in rows if row.is_base}
    if lost := {row.group for row in rows} - bases:
        raise DataError(f"{file} has rotations of question {min(lost)}, but not the question itself")
    return MMBench(rows)


def _read_table(file: Path) -> Iterator[dict[str, str]]:
    needed = ("index", "question", "A", "B", "answer", "category", "image")
    limit = csv.field_size_limit(sys.maxsize)  # pictures stand in the cells
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, delimiter="\t")
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{file} has no column {', '.join(missing)}; expected MMBench's TSV with its answers")
            yield from ({name: row[name] or "" for name in reader.fieldnames or ()} for row in reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {file}: {error}; is it whole?") from None
    finally:
        csv.field_size_limit(limit)


def _read_index(file: Path, row: Mapping[str, str], number: int) -> int:
    if not row["index"].isdecimal():
        raise DataError(f"{file}: row {number} has the index {row['index']!r}, expected a number; is it MMBench's TSV?")
    return int(row["index"])


def _read_row(file: Path, row: Mapping[str, str], pictures: Mapping[int, str]) -> _Row:
    index = int(row["index"])
    options = {letter: row[letter] for letter in LETTERS if (row.get(letter) or "").strip().lower() not in _ABSENT}
    answer = row["answer"].strip()
    if answer not in options:
        raise DataError(f"{file}: question {index} has the answer {answer!r}, expected one of {', '.join(options)}")
    image = row["image"]
    if image.isdigit():  # the index of the row that holds it
        if int(image) not in pictures:
            raise DataError(f"{file}: question {index} shows the picture of row {image}, which is not there")
        image = pictures[int(image)]
    hint = row.get("hint") or ""
    prompt = write_question(row["question"], options, "" if hint.strip().lower() in _ABSENT else hint)
    return _Row(
        item=Item(str(index), f"data:;base64,{image}", prompt),
        group=index % ROTATION,
        is_base=index < ROTATION,
        options=options,
        answer=answer,
        category=row["category"],
        ability=row.get("l2-category") or "none",
    )


def _rotate(row: _Row) -> Iterator[_Row]:
    """The question with its options moved on by one letter after the other."""
    letters, texts = list(row.options), list(row.options.values())
    written = "\n".join(f"{letter}. {text}" for letter, text in row.options.items())
    for shift in range(len(letters)):
        options = {letter: texts[(place + shift) % len(texts)] for place, letter in enumerate(letters)}
        now = "\n".join(f"{letter}. {text}" for letter, text in options.items())
        answer = letters[(letters.index(row.answer) - shift) % len(letters)]
        item = Item(str(row.group + shift * ROTATION), row.item.image, row.item.prompt.replace(written, now))
        yield _Row(item, row.group, shift == 0, options, answer, row.category, row.ability)
