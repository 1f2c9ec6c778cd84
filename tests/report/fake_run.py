"""A made-up run for the report's tests: drawn pictures, plausible pairs, plausible numbers."""

import hashlib
import io
import math
import random
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial

from PIL import Image, ImageDraw

from c3l.method.i2c import compute_i2c, unit_of
from c3l.method.specificity import measure_specificity
from c3l.records import AnswerScores, FilterDecision, ImageRef, Provenance, Rejected, Sample, ScoredPair
from c3l.report.contents import ReportContents, StageCounts

SCENES = ("harbour", "orchard", "tram", "kitchen", "meadow", "lighthouse", "market", "canal")
PAIRS = (
    (
        "What is the animal near the {scene} doing?",
        "A small brown dog is lying on the grass, looking at the camera.",
    ),
    ("How many boats can be seen?", "Three."),
    (
        "Describe the light in the picture of the {scene}.",
        "The sun is low and comes from the left, so the houses throw long shadows over the street and the "
        "water glitters; the sky above is pale yellow, with two thin clouds.",
    ),
    ("Is there a red umbrella?", "Yes, there is a red umbrella beside the bench."),
    (
        "Why might people like to come to the {scene}?",
        "It is a calm place where they can rest and talk to friends.",
    ),
)
PICTURED = frozenset(
    (
        "brown",
        "dog",
        "grass",
        "camera",
        "Three",
        "sun",
        "left",
        "houses",
        "shadows",
        "water",
        "yellow",
        "clouds",
        "red",
    )
)
IMAGINED = frozenset(("small", "umbrella", "glitters", "friends"))


def make_contents(images: int = 20, seed: int = 0, instructions: int = 2, gallery_limit: int = 200) -> ReportContents:
    """A run over ``images`` pictures with five pairs each, half of them kept."""
    rng = random.Random(seed)
    refs = {ref.image_id: ref for ref in (make_image(number) for number in range(images))}
    scored = [
        make_pair(rng, ref, number, index, instructions)
        for number, ref in enumerate(refs.values())
        for index in range(len(PAIRS))
    ]
    selected = select(scored)
    kept = sum(decision.kept for decision in selected)
    rejected = make_rejections(refs)
    return ReportContents(
        title="demo",
        folder="runs/demo",
        settings=SETTINGS,
        provenance={"generated": MAKER, "scored": MAKER},
        stages=make_stages(images, len(scored), kept),
        images=refs,
        scored=scored,
        decisions=selected,
        rejected=rejected,
        exported=kept,
        exports={"llava": "export/llava.json", "ids": "export/ids.txt"},
        rows={"llava": kept},
        open_thumbnail=draw_thumbnail,
        compute_i2c=compute_i2c,
        unit_of=unit_of,
        measure_specificity=partial(measure_specificity, no_image="drop", others=4),
        gallery_limit=gallery_limit,
    )


def make_image(number: int) -> ImageRef:
    scene = SCENES[number % len(SCENES)]
    width, height = ((640, 427), (480, 640), (640, 480))[number % 3]
    return ImageRef(f"{number:016x}", f"photos/{scene}-{number:04d}.jpg", "0" * 64, width, height)


def make_pair(rng: random.Random, ref: ImageRef, number: int, index: int, instructions: int) -> ScoredPair:
    question, answer = PAIRS[(index + number) % len(PAIRS)]
    scene = SCENES[number % len(SCENES)]
    instruction = ("conversation", "detailed_description")[(number + index) % instructions]
    sample_id = hashlib.sha256(f"{number}/{index}".encode()).hexdigest()[:16]
    sample = Sample(sample_id, ref.image_id, instruction, question.format(scene=scene), answer, 0, index)
    scores = make_scores(rng, answer, look=rng.gauss(0.8, 0.7))
    return ScoredPair(sample, scores, compute_i2c(scores, "log_ratio"), "log_ratio", "drop")


def make_scores(rng: random.Random, answer: str, look: float = 0.8) -> AnswerScores:
    tokens = [
        piece for word in re.findall(r"\s?\w+|[^\w]", answer) for piece in re.findall(r"\s?\w{1,7}", word) or [word]
    ]
    blind = [-abs(rng.gauss(1.6, 1.2)) - 0.02 for _ in tokens]
    seen = []
    for token, q in zip(tokens, blind, strict=True):
        word = token.strip()
        pull = 2.0 * look if word in PICTURED else -1.6 if word in IMAGINED else 0.15 * look
        seen.append(min(q + rng.gauss(pull, 0.25), -0.01))
    return AnswerScores(
        tuple(range(len(tokens))),
        tuple(tokens),
        tuple(seen),
        tuple(blind),
        tuple(abs(p - q) * 0.6 + 0.05 for p, q in zip(seen, blind, strict=True)),
    )


def select(scored: list[ScoredPair]) -> list[FilterDecision]:
    border = sorted(pair.i2c for pair in scored)[len(scored) // 2] if scored else 0.0
    by_image = defaultdict(list)
    for pair in scored:
        by_image[pair.sample.image_id].append(pair.i2c)
    decisions = []
    for pair in scored:
        sample = pair.sample
        rank = 1 + sum(other > pair.i2c for other in by_image[sample.image_id])
        kept = pair.i2c >= border
        reason = f"{'in' if kept else 'below'} the top 50% of S(I2C)"
        role = "positive" if rank == 1 else "negative"
        decisions.append(FilterDecision(sample.sample_id, sample.image_id, pair.i2c, rank, role, kept, reason))
    return decisions


def make_rejections(refs: Mapping[str, ImageRef]) -> list[Rejected]:
    first = next(iter(refs), "none")
    return [
        Rejected("bad1", "bad1", "images", "truncated_image", "scans/half.jpg ends after 20480 of 91230 bytes"),
        Rejected("bad2", "bad2", "images", "not_an_image", "scans/page.jpg is HTML"),
        Rejected("g1", first, "generated", "unparsable", "no question and answer found in 212 characters"),
        *(
            Rejected(
                f"s{n}",
                first,
                "generated",
                "duplicate_question",
                "the same question as pair 1 of this picture",
            )
            for n in range(4)
        ),
        Rejected("s9", first, "scored", "non_finite", "log-probability of token 3 is nan"),
    ]


def make_stages(images: int, pairs: int, kept: int) -> list[StageCounts]:
    bad = {"truncated_image": 1, "not_an_image": 1}
    return [
        StageCounts("images", "images", "images", images + 2, images, bad, 0.4),
        StageCounts(
            "generated",
            "pictures",
            "pairs",
            images,
            pairs + 1,
            {"unparsable": 1, "duplicate_question": 4},
            74.2,
        ),
        StageCounts("scored", "pairs", "pairs", pairs + 1, pairs, {"non_finite": 1}, 31.9),
        StageCounts("groups", "pairs", "pairs", pairs, kept, {"below the top 50%": pairs - kept}, 0.1),
        StageCounts("exported", "pairs", "pairs", kept, kept, {}, 0.1),
    ]


@cache
def draw_thumbnail(image: ImageRef) -> bytes:
    """A landscape of its own for each picture, as JPEG."""
    rng = random.Random(image.image_id)
    picture = Image.new("RGB", (image.width * 3 // 4, image.height * 3 // 4))
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    sky, ground = [tuple(rng.randrange(low, 250) for _ in range(3)) for low in (120, 40)]
    for row in range(height):
        share = row / height
        draw.line([(0, row), (width, row)], tuple(round(c * (1 - share) + 250 * share) for c in sky))
    x, radius = rng.randrange(width), width // 14
    draw.ellipse([x - radius, 40, x + radius, 40 + 2 * radius], (255, 244, 200))
    for layer in range(4):
        base, phase = height * (0.5 + layer * 0.13), rng.random() * 6
        crest = [(x, base + 22 * math.sin(x / (40 + 17 * layer) + phase)) for x in range(0, width + 8, 8)]
        shade = tuple(round(c * (0.95 - 0.2 * layer)) for c in ground)
        draw.polygon([*crest, (width, height), (0, height)], shade)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=82)
    return file.getvalue()


def without_scores(contents: ReportContents) -> ReportContents:
    """The same run if every pair had been rejected."""
    return replace(contents, scored=[], decisions=[], exported=0)


MAKER = Provenance(
    model="builtin",
    weights="sha256:5c1f0b7be1d04d6fb0d2f6a0e0c4d0f7d6a2b9a84be4f9d2b6a1c6a1b0c7f3e2",
    backend="hf",
    dtype="float32",
    device="cpu",
    seed=0,
    versions={"c3l": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "python": "3.11.2"},
)
SETTINGS = """\
run: runs/demo
seed: 0
model:
  name: builtin
  dtype: auto
images:
  root: examples/images
generation:
  instructions: [conversation, detailed_description]
  pairs_per_image: 5
  temperature: 1.0
scoring:
  form: log_ratio
  no_image: drop
filtering:
  rule: top_fraction
  fraction: 0.5
export:
  formats: [llava]
"""
