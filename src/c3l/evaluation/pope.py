"""POPE (Li et al., arXiv 2305.10355): does a model see objects that are not there?"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from c3l.errors import DataError
from c3l.evaluation.choices import WIDE
from c3l.evaluation.fields import Fields, read_fields
from c3l.evaluation.task import FloatArray, Item, Prediction, Sums, Tally, TallyBuilder, divide

SPLITS = ("random", "popular", "adversarial")
SUFFIX = "\nAnswer the question using a single word or phrase."
_COUNTS = ("tp", "fp", "tn", "fn", "lost_yes", "lost_no")  # lost: neither yes nor no, by what would be right

_LABELS = {"yes": True, "no": False, "true": True, "false": False}
_REMEDY = "expected POPE's own coco_pope_*.json with question_id, image, text and label"

Answer = Literal["yes", "no", "unknown"]
FindImage = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Question:
    split: str
    item: Item
    is_yes: bool


class Pope:
    """The questions of one or several splits.

    The unit of the bootstrap is the image: the six questions about one image are answered by one look at it, so
    they are drawn together.
    """

    name = "pope"
    rules = ("llava", "strict")
    max_new_tokens = 128  # as LLaVA's evaluation

    def __init__(self, questions: Sequence[_Question]) -> None:
        self._questions = questions
        self.items = [question.item for question in questions]
        self._splits = tuple(dict.fromkeys(question.split for question in questions))

    def take(self, count: int) -> "Pope":
        """The first questions of the first files."""
        return Pope(self._questions[:count])

    def tally(self, predictions: Mapping[str, Prediction], rule: str) -> Tally:
        """Count hits and misses of every split; no answer counts as neither yes nor no, and so as wrong.

        What is neither is counted as unread by every rule, also by ``llava``, which takes it for a yes.
        """
        builder = TallyBuilder([f"{split}/{count}" for split in self._splits for count in _COUNTS])
        unparsed = failed = 0
        for question in self._questions:
            prediction = predictions[question.item.item_id]
            answer: Answer = "unknown" if prediction.failed else _READERS[rule](prediction.text)
            failed += bool(prediction.failed)
            unparsed += not prediction.failed and read_strict(prediction.text) == "unknown"
            builder.add(question.item.image, **{f"{question.split}/{_outcome(question.is_yes, answer)}": 1})
        return builder.build(items=len(self.items), unparsed=unparsed, failed=failed)

    def figures(self, sums: Sums) -> dict[str, FloatArray]:
        """``mean_f1`` is the mean of the splits' F1 (LLaVA's headline), ``pooled_f1`` that of all questions at once."""
        splits = {split: {count: sums[f"{split}/{count}"] for count in _COUNTS} for split in self._splits}
        pooled = {count: np.sum([of_split[count] for of_split in splits.values()], axis=0) for count in _COUNTS}
        each = {split: _rates(counts) for split, counts in splits.items()}
        whole = _rates(pooled)
        figures = {"mean_f1": np.mean([rates["f1"] for rates in each.values()], axis=0), "pooled_f1": whole.pop("f1")}
        figures |= whole
        return figures | {f"{split}/{name}": value for split, rates in each.items() for name, value in rates.items()}

    def describe(self) -> Iterator[dict[str, str]]:
        """What is known of every item, in the columns of VLMEvalKit; it tells Yes from yes."""
        for one in self._questions:
            yield {"question": one.item.prompt, "answer": "Yes" if one.is_yes else "No", "category": one.split}


def read_pope(files: Sequence[Path], suffix: str = SUFFIX, find: FindImage = lambda image: image) -> Pope:
    """The questions of POPE's own files: JSON lines, or a list, of ``question_id, image, text, label``.

    The split is ``category`` of the row where it has one, else the word in the name of the file or its folder;
    questions are known by split and ``question_id``, which begins again in every file.

    Args:
        files: A split each.
        suffix: What is put behind a question that does not end so.
        find: Gives the path of an image by its name, which may lack its ending.

    Raises:
        DataError: If a row has other keys or another label, or a question comes twice.
    """
    questions = [_read_row(fields, suffix, find) for path in files for fields in read_fields(path, _REMEDY)]
    seen = Counter(question.item.item_id for question in questions)
    if twice := [name for name, count in seen.items() if count > 1]:
        raise DataError(
            f"question {twice[0]} comes twice in {', '.join(map(str, files))}; give each split once, as a file named "
            f"after it ({', '.join(SPLITS)}) or with the field category"
        )
    return Pope(questions)


def read_llava(text: str) -> Answer:
    """LLaVA's rule: "no" if the first sentence has one of the words No, no, not; everything else is a yes.

    Without the white space around the text, which LLaVA takes off before it writes the answer down.
    """
    sentence = text.strip().partition(".")[0].replace(",", "")
    return "no" if {"No", "no", "not"} & set(sentence.split(" ")) else "yes"


def read_strict(text: str) -> Answer:
    """The first word that is yes or no, in any case; without one the answer is neither."""
    found = re.search(r"(?<![^\W_])(yes|no)(?![^\W_])", text.translate(WIDE).lower())
    if found is None:
        return "unknown"
    return "yes" if found[1] == "yes" else "no"


_READERS = {"llava": read_llava, "strict": read_strict}


def _outcome(is_yes: bool, answer: Answer) -> str:
    if answer == "unknown":
        return "lost_yes" if is_yes else "lost_no"
    if is_yes:
        return "tp" if answer == "yes" else "fn"
    return "fp" if answer == "yes" else "tn"


def _rates(counts: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    tp, fp, tn, fn = (counts[name] for name in ("tp", "fp", "tn", "fn"))
    lost_yes, lost_no = counts["lost_yes"], counts["lost_no"]
    total = tp + fp + tn + fn + lost_yes + lost_no
    missed = fn + lost_yes
    return {
        "f1": divide(2 * tp, 2 * tp + fp + missed),
        "accuracy": divide(tp + tn, total),
        "precision": divide(tp, tp + fp),
        "recall": divide(tp, tp + missed),
        "yes_share": divide(tp + fp, total),
        "unknown_share": divide(lost_yes + lost_no, total),
    }


def _read_row(fields: Fields, suffix: str, find: FindImage) -> _Question:
    label = fields.label("label", "answer")
    if label not in _LABELS:
        raise fields.refuse(f"has the label {label!a:.40}, expected yes or no")
    split = fields.key("category") if "category" in fields else _split_of(fields.path)
    text = fields.text("text", "question").strip()
    if not text:
        raise fields.refuse("has an empty question")
    prompt = text if text.endswith(suffix.strip()) else text + suffix
    image = find(fields.text(*(("image_source",) if "image_source" in fields else ("image",))))
    return _Question(split, Item(f"{split}/{fields.key('question_id')}", image, prompt), _LABELS[label])


def _split_of(path: Path) -> str:
    """The split that the file is named after, or its folder; else the file's name without its endings."""
    names = (path.name.lower(), path.parent.name.lower())
    found = (split for name in names for split in SPLITS if split in name)
    return next(found, path.name.partition(".")[0])
