"""What is written about images: the images, the texts, the pairs, and what was rejected."""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

MAX_ROUNDS = 4
"""How often an LVLM may be tuned and write again."""


@dataclass(frozen=True, slots=True)
class ImageRef:
    """An image of the run: where it lies and what its bytes are.

    Attributes:
        image_id: Hash of the relative path; the name of the image everywhere else.
        path: Path relative to the image root, with ``/``.
        sha256: Hash of the file's bytes.
        width: Width in pixels after EXIF orientation.
        height: Height in pixels after EXIF orientation.
    """

    image_id: str
    path: str
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Generation:
    """The raw text that the LVLM wrote for one image and one instruction; parsing it needs no model."""

    generation_id: str
    image_id: str
    instruction_id: str
    round: int
    text: str
    finish_reason: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One question-answer pair about one image.

    Attributes:
        sample_id: Hash of image, instruction, round and index: stable over reruns, order and shard count.
        image_id: The image that it is about.
        instruction_id: The instruction template that asked for it; ``"data"`` for pairs read from a file.
        question: Text without any image placeholder.
        answer: Text that S(I2C) is measured on.
        round: 0 for the draft, 1 for what the tuned LVLM wrote.
        index: Place of the pair in its generation.
    """

    sample_id: str
    image_id: str
    instruction_id: str
    question: str
    answer: str
    round: int
    index: int

    @property
    def opening(self) -> str:
        """The question's first word, lower case, which tells its kind: is, what, how."""
        return _first_word(self.question)

    @property
    def answer_opening(self) -> str:
        """The answer's first word, lower case: yes, no, the."""
        return _first_word(self.answer)

    @property
    def openings(self) -> str:
        """The first words of question and answer, which tell yes from no as well: ``is ... yes``."""
        return f"{self.opening} ... {self.answer_opening}"


_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


def _first_word(text: str) -> str:
    found = _WORD.search(text.lower())
    return found[0] if found else ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something that went into a stage and did not come out.

    Attributes:
        id: The image, generation or sample.
        image_id: The image that it belongs to.
        stage: Where it was rejected.
        reason: A short fixed word, such as ``truncated_image`` or ``empty_answer``.
        detail: One line for a person.
    """

    id: str
    image_id: str
    stage: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which model, in what arithmetic, made a stage's records.

    Attributes:
        notes: What is done otherwise with this model than with most, a line each.
    """

    model: str
    weights: str
    backend: str
    dtype: str
    device: str
    seed: int
    versions: dict[str, str]
    notes: tuple[str, ...] = ()


def name_round(round: int) -> str:
    """The folder of what is written in a round: draft, refined, refined-2, ..."""
    return "draft" if round == 0 else _numbered("refined", round)


def name_step(step: Literal["groups", "tuned"], round: int) -> str:
    """The folder of a step that leads to a round from 1 on: tuned, tuned-2, ..."""
    return _numbered(step, round)


def _numbered(name: str, round: int) -> str:
    return name if round == 1 else f"{name}-{round}"


def make_id(*parts: str | int) -> str:
    """A stable 16-digit hexadecimal id of where something came from."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]
