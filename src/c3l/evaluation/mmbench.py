"""MMBench: multiple choice, right only if right in every rotation of the options (Liu et al., arXiv 2307.06281)."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from c3l.data.choices import write_question
from c3l.errors import DataError
from c3l.evaluation.choices import LETTERS, match_option
from c3l.evaluation.tables import is_whole, read_table
from c3l.evaluation.task import FloatArray, Item, Prediction, Sums, Tally, TallyBuilder, divide

ROTATION = 1_000_000  # an index is its question's plus so much a rotation
_NEEDED = ("index", "question", "A", "B", "answer", "category", "image")
_ABSENT = ("", "nan")
_SHORT = 20  # digits of an index; base64 of an image is longer
_EXCEL_CELL = 32_767


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

    @property
    def incomplete(self) -> int:
        """Questions with fewer rotations than options: right by chance more often than the others."""
        rotations = Counter(row.group for row in self._rows)
        return sum(row.is_base and rotations[row.group] < len(row.options) for row in self._rows)

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

    The first of a question's rotations is the one with the lowest index; it is below ``ROTATION`` but where a release
    numbers its own questions from above.

    Raises:
        DataError: If the file is no whole table, an index is no number or comes twice, an answer is no option, or a
            image refers to a row that is not there.
    """
    table = read_table(file, _NEEDED, "index", "MMBench's TSV with its answers")
    numbers = [_read_index(file, row, number) for number, row in enumerate(table, 1)]
    if len(set(numbers)) < len(numbers):
        twice = Counter(numbers).most_common(1)[0][0]
        raise DataError(f"{file} has the index {twice} more than once, expected every row to have its own; remove one")
    images = {index: row["image"] for index, row in zip(numbers, table, strict=True)}
    bases = _find_bases(numbers)
    rows = [
        _read_row(_Place(file, number, index), row, images, is_base=index in bases)
        for number, (index, row) in enumerate(zip(numbers, table, strict=True), 1)
    ]
    if all(row.is_base for row in rows):
        return MMBench([rotated for row in rows for rotated in _rotate(row)])
    _refuse_lost(file, rows)
    return MMBench(rows)


def _find_bases(numbers: Sequence[int]) -> set[int]:
    lowest: dict[int, int] = {}
    for index in numbers:
        lowest[index % ROTATION] = min(index, lowest.get(index % ROTATION, index))
    return set(lowest.values())


def _refuse_lost(file: Path, rows: Sequence[_Row]) -> None:
    """Refuse rotations without the question itself: such as of a file that was cut.

    Raises:
        DataError: If there are fewer than the question has options, and the first is not among them.
    """
    rotations = Counter(row.group for row in rows)
    for row in rows:
        if row.is_base and int(row.item.item_id) >= ROTATION and rotations[row.group] < len(row.options):
            raise DataError(f"{file} has rotations of question {row.group}, but not the question itself; is it whole?")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a row stands, for errors."""

    file: Path
    number: int
    index: int

    def refuse(self, problem: str) -> DataError:
        return DataError(f"{self.file}: row {self.number}, question {self.index}, {problem}")


def _read_index(file: Path, row: Mapping[str, str], number: int) -> int:
    if not is_whole(row["index"]):
        raise DataError(
            f"{file}: row {number} has the index {row['index']!a:.40}, expected a number; is it MMBench's TSV?"
        )
    return int(float(row["index"]))


def _read_row(place: _Place, row: Mapping[str, str], images: Mapping[int, str], *, is_base: bool) -> _Row:
    options = {letter: row[letter] for letter in LETTERS if not _is_absent(row.get(letter, ""))}
    if list(options.values()).count("None") > 1:
        raise place.refuse("has several options None; leave the cells of options that are not there empty")
    answer = row["answer"].strip().upper()
    if _is_absent(answer):
        raise place.refuse("has no answer; the test split comes without, take the dev split or add the answers")
    if answer not in options:
        raise place.refuse(f"has the answer {answer!a:.40}, expected one of {', '.join(options)}")
    hint = row.get("hint", "")
    prompt = write_question(row["question"], options, "" if _is_absent(hint) else hint)
    return _Row(
        item=Item(str(place.index), _find_image(place, row["image"], images), prompt),
        group=place.index % ROTATION,
        is_base=is_base,
        options=options,
        answer=answer,
        category=row["category"],
        ability=row.get("l2-category") or "none",
    )


def _is_absent(cell: str) -> bool:
    return cell.strip().lower() in _ABSENT


def _find_image(place: _Place, cell: str, images: Mapping[int, str]) -> str:
    """The image of a row as a data URL: base64, wrapped or not, or the index of the row that holds it."""
    image = cell
    if is_whole(image) and len(image) < _SHORT:
        image = images.get(int(float(image)), "")
        if not image:
            raise place.refuse(f"shows the image of row {cell}, which is not there")
    if len(image) == _EXCEL_CELL:
        raise place.refuse(f"has an image of just {_EXCEL_CELL:,} characters, where Excel cuts cells off; get it anew")
    if _is_absent(image) or image.lstrip().startswith("["):
        raise place.refuse("has no image" if _is_absent(image) else "has a list of images, expected one")
    head, comma, content = image.partition(",") if image.lstrip().startswith("data:") else ("data:;base64", ",", image)
    content = "".join(content.split())
    return f"{head.strip()}{comma}{content}{'=' * (-len(content) % 4)}"


def _rotate(row: _Row) -> Iterator[_Row]:
    """The question with its options moved on by one letter after the other."""
    letters, texts = list(row.options), list(row.options.values())
    written = "\n".join(f"{letter}. {text}" for letter, text in row.options.items())
    for shift in range(len(letters)):
        options = {letter: texts[(place + shift) % len(texts)] for place, letter in enumerate(letters)}
        now = "\n".join(f"{letter}. {text}" for letter, text in options.items())
        answer = letters[(letters.index(row.answer) - shift) % len(letters)]
        item = Item(
            str(int(row.item.item_id) + shift * ROTATION), row.item.image, row.item.prompt.replace(written, now)
        )
        yield _Row(item, row.group, shift == 0, options, answer, row.category, row.ability)
