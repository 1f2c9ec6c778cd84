"""What the built-in LVLM is trained on: for one picture, several prompts with their right completions."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from c3l.method.prompts import load_templates
from studies.picture_world.own_words import OwnWords
from studies.picture_world.prototypes import Prototypes
from studies.picture_world.questions import QA, Asker
from studies.picture_world.scenes import Placed, Scene, read_scenes
from studies.picture_world.wording import sentence

BRIEF = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
TEMPLATES = {
    "conversation": 5,
    "brief_vqa": 3,
    "detailed_description": 2,
    "complex_reasoning": 2,
    "conversation_json": 1,
}


@dataclass(frozen=True)
class Lesson:
    """One picture's features (49, 1280) float16, or None for a lesson without a picture, and its exercises."""

    features: np.ndarray | None
    exercises: tuple[tuple[str, str], ...]


class Lessons:
    """Draws lessons from prepared pictures and prototypes; the n-th lesson depends on the seed and n alone."""

    def __init__(
        self,
        folder: Path,
        chunks: Sequence[int],
        prototypes: Prototypes,
        prototype_share: float,
        blind_share: float = 0.07,
        own: OwnWords | None = None,
        own_share: float = 0.0,
    ) -> None:
        """Open the prepared chunks.

        Args:
            folder: Where ``prepare`` wrote the features.
            chunks: Which of them to use.
            prototypes: The source of the other lessons.
            prototype_share: How many lessons are about a prototype, not about a picture.
            blind_share: How many show no picture.
            own: What the model wrote itself, and truly.
            own_share: How many are of that alone, before all others are drawn.
        """
        self.own, self.own_share = own, own_share
        self.features = [np.load(folder / f"{c:03d}.npy", mmap_mode="r") for c in chunks]
        self.scenes = [read_scenes(folder / f"{c:03d}.jsonl") for c in chunks]
        self.prototypes, self.prototype_share, self.blind_share = prototypes, prototype_share, blind_share
        self.templates = load_templates(None)
        self.names = self._names_shown()
        self.said = self._names_shown(plainly=True)

    def _names_shown(self, count: int = 20_000, plainly: bool = False) -> list[str]:
        """Names as often as pictures show them: asked after where absent, no name by itself says yes or no."""
        rng = random.Random("names")
        asker, names = Asker(rng, (), plainly=plainly), []
        for _ in range(count):
            if rng.random() < self.prototype_share:
                placed = Placed(rng.choice(self.prototypes.classes).names, "", (0.0, 0.0, 1.0, 1.0))
            else:
                placed = rng.choice(rng.choice(rng.choice(self.scenes)).placed)
            names.append(asker.name(placed))
        return names

    def draw(self, seed: int, number: int) -> Lesson:
        """The lesson with this number."""
        rng = random.Random(f"{seed}:{number}")
        if self.own is not None and rng.random() < self.own_share:
            features, exercise = self.own.draw(rng)
            return Lesson(features, (exercise,))
        if rng.random() < self.prototype_share:
            features, scene = self.prototypes.draw(rng)
            exercises = self.exercises(scene, rng, count=rng.randint(1, 2), completions=0.3)
        else:
            chunk = rng.randrange(len(self.scenes))
            row = rng.randrange(len(self.scenes[chunk]))
            features, scene = np.asarray(self.features[chunk][row]), self.scenes[chunk][row]
            exercises = self.exercises(scene, rng, count=rng.randint(1, 2), completions=0.5)
        return Lesson(None if rng.random() < self.blind_share else features, tuple(exercises))

    def exercises(self, scene: Scene, rng: random.Random, count: int, completions: float) -> list[tuple[str, str]]:
        """Prompts with completions: the name always, other single questions, a whole set of pairs by chance."""
        asker = Asker(rng, self.names)
        asked = [asker.what(scene), *asker.ask(scene, count)]
        exercises = [self._question(qa, rng) for qa in asked if qa is not None]
        if rng.random() < completions:
            template = self.templates[rng.choices(list(TEMPLATES), list(TEMPLATES.values()))[0]]
            pairs = rng.choice((5, 5, 5, 3, 4))
            written = Asker(rng, self.said).completion(scene, template, pairs)
            exercises.append((template.render(pairs), written))
        if rng.random() < 0.1:
            exercises.append(self._choice(scene, asker, rng))
        return exercises

    def _question(self, qa: QA, rng: random.Random) -> tuple[str, str]:
        style = rng.random()
        if qa.kind not in ("describe", "reason") and style < 0.2:
            return qa.question + BRIEF, sentence(qa.short).rstrip(".")
        return qa.question, sentence(qa.short) if style < 0.65 and qa.kind != "describe" else qa.long

    def _choice(self, scene: Scene, asker: Asker, rng: random.Random) -> tuple[str, str]:
        right = asker.name(rng.choice(scene.placed))
        present = {name for placed in scene.placed for name in placed.names} | set(scene.also)
        drawn = dict.fromkeys(rng.sample(self.names, 12))
        wrong = [n for n in drawn if n not in present][: rng.choice((1, 2, 3, 3, 3))]
        options = [right, *wrong]
        rng.shuffle(options)
        lines = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=False))
        return f"What is in the image?\n{lines}{LETTER}", "ABCD"[options.index(right)]
