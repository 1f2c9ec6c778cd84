"""Scenes: cut-outs pasted on backgrounds, with the truth about what stands where."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from studies.picture_world.things import Thing

SIDE = 224
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Placed:
    """A thing in a scene: its names (most specific first), colour or "", and box (x0, y0, x1, y1) in 0..1."""

    names: tuple[str, ...]
    colour: str
    box: Box

    @property
    def x(self) -> float:
        """Horizontal centre, 0 (left) to 1 (right)."""
        return (self.box[0] + self.box[2]) / 2

    @property
    def y(self) -> float:
        """Vertical centre, 0 (top) to 1 (bottom)."""
        return (self.box[1] + self.box[3]) / 2

    @property
    def area(self) -> float:
        """Share of the picture, 0..1."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


@dataclass(frozen=True)
class Scene:
    """The truth about one picture.

    Attributes:
        scene_id: Name of the picture's file, without its ending.
        placed: What is in it.
        complete: Whether ``placed`` is all that is in it, so that counts and absences are known.
        also: Further names that hold (things in the background): never asked about, never false.
    """

    scene_id: str
    placed: tuple[Placed, ...]
    complete: bool = True
    also: tuple[str, ...] = field(default=())

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Scene":
        """The scene that ``to_json`` wrote."""
        row = json.loads(line)
        placed = tuple(Placed(tuple(p["names"]), p["colour"], tuple(p["box"])) for p in row["placed"])
        return cls(row["scene_id"], placed, row["complete"], tuple(row["also"]))


def read_scenes(path: Path) -> list[Scene]:
    """The scenes of a file, a line each."""
    return [Scene.from_json(line) for line in path.read_text(encoding="utf-8").splitlines()]


class Painter:
    """Paints scenes from things and background photographs; everything drawn from one generator a scene."""

    def __init__(
        self, world: Path, things: Sequence[Thing], backgrounds: Sequence[tuple[Path, tuple[str, ...]]]
    ) -> None:
        """Keep the things; open each background once, reduced to twice the scene's side.

        Args:
            world: The folder with ``things/``.
            things: What may appear.
            backgrounds: Photographs that may stand behind, with the names of what they show; plain colours and
                gradients are always used too.
        """
        self.folder = world / "things"
        self.things = list(things) + 2 * [thing for thing in things if thing.photo]  # drawings weigh a third
        self.backgrounds = [(_reduced(path), names) for path, names in backgrounds]

    def paint(self, scene_id: str, seed: str) -> tuple[Image.Image, Scene]:
        """A 224 x 224 RGB picture and its truth, both decided by the seed."""
        rng = random.Random(seed)
        canvas, behind = self._background(rng)
        kind = rng.choices(("one", "several", "copies"), (0.42, 0.38, 0.20))[0]
        chosen = self._choose(kind, rng)
        placed: list[Placed] = []
        for thing in chosen:
            cut = self._cut(thing, rng)
            box = _place(cut, placed, len(chosen), rng)
            if box is not None:
                _paste(canvas, cut, box)
                left, top, right, bottom = box
                placed.append(Placed(thing.names, thing.colour, (left / SIDE, top / SIDE, right / SIDE, bottom / SIDE)))
        return _lit(canvas, rng), Scene(scene_id, tuple(placed), also=behind)

    def _choose(self, kind: str, rng: random.Random) -> list[Thing]:
        if kind == "one":
            return [rng.choice(self.things)]
        if kind == "several":
            return list(dict.fromkeys(rng.choices(self.things, k=rng.choice((2, 2, 2, 3, 3, 4)))))
        copies = [rng.choice(self.things)] * rng.choice((2, 2, 3, 3, 4))
        return copies + ([rng.choice(self.things)] if rng.random() < 0.3 and len(copies) < 4 else [])

    def _cut(self, thing: Thing, rng: random.Random) -> Image.Image:
        cut = Image.open(self.folder / thing.file).convert("RGBA")
        if rng.random() < 0.5:
            cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if rng.random() < 0.35:
            cut = cut.rotate(rng.uniform(-18, 18), Image.Resampling.BILINEAR, expand=True)
        return cut

    def _background(self, rng: random.Random) -> tuple[Image.Image, tuple[str, ...]]:
        kind = rng.random()
        if self.backgrounds and kind < 0.68:
            photograph, names = rng.choice(self.backgrounds)
            return _random_crop(photograph, rng), names
        if kind < 0.86:
            return Image.new("RGB", (SIDE, SIDE), _pale(rng) if rng.random() < 0.7 else (255, 255, 255)), ()
        return _gradient(rng), ()


def _reduced(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.draft("RGB", (2 * SIDE, 2 * SIDE))
        small = image.convert("RGB")
    scale = 2 * SIDE / min(small.size)
    return (
        small.resize((max(1, round(small.width * scale)), max(1, round(small.height * scale)))) if scale < 1 else small
    )


def _random_crop(image: Image.Image, rng: random.Random) -> Image.Image:
    side = min(image.size) * rng.uniform(0.45, 1.0)
    left, top = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
    crop = image.crop((round(left), round(top), round(left + side), round(top + side))).resize((SIDE, SIDE))
    return crop.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 3))) if rng.random() < 0.35 else crop


def _pale(rng: random.Random) -> tuple[int, int, int]:
    low = rng.choice((40, 120, 180))
    return (rng.randint(low, 255), rng.randint(low, 255), rng.randint(low, 255))


def _gradient(rng: random.Random) -> Image.Image:
    a, b = np.array(_pale(rng), float), np.array(_pale(rng), float)
    ramp = np.linspace(0, 1, SIDE)[:, None, None]
    return Image.fromarray(np.broadcast_to(a + (b - a) * ramp, (SIDE, SIDE, 3)).astype(np.uint8))


def _place(cut: Image.Image, placed: Sequence[Placed], total: int, rng: random.Random) -> Box | None:
    """A box in pixels that hardly overlaps the others, keeping the cut-out's shape; None where nothing fits."""
    low, high = {1: (0.5, 1.1), 2: (0.32, 0.55), 3: (0.28, 0.45)}.get(total, (0.24, 0.38))
    for _ in range(30):
        side = rng.uniform(low, high) * SIDE
        scale = side / max(cut.size)
        width, height = cut.width * scale, cut.height * scale
        overhang = 0.12 if total == 1 else 0.02
        x0 = rng.uniform(-overhang * width, max(1.0, SIDE - width + overhang * width))
        y0 = rng.uniform(-overhang * height, max(1.0, SIDE - height + overhang * height))
        box = (x0, y0, x0 + width, y0 + height)
        if all(_overlap(box, tuple(v * SIDE for v in other.box)) < 0.1 for other in placed):
            return box
    return None


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(0.0, width) * max(0.0, height) / smaller


def _paste(canvas: Image.Image, cut: Image.Image, box: Box) -> None:
    size = (max(1, round(box[2] - box[0])), max(1, round(box[3] - box[1])))
    small = cut.resize(size, Image.Resampling.LANCZOS)
    canvas.paste(small, (round(box[0]), round(box[1])), small)


def _lit(image: Image.Image, rng: random.Random) -> Image.Image:
    for enhance, spread in (
        (ImageEnhance.Brightness, 0.3),
        (ImageEnhance.Contrast, 0.25),
        (ImageEnhance.Color, 0.2),
    ):
        if rng.random() < 0.5:
            image = enhance(image).enhance(rng.uniform(1 - spread, 1 + spread))
    return image


def photograph(path: Path, names: Sequence[str], also: Sequence[str], seed: str | None) -> tuple[Image.Image, Scene]:
    """A named photograph as a scene: whole, or (with a seed) cropped, flipped and lit at random."""
    with Image.open(path) as image:
        image.draft("RGB", (3 * SIDE, 3 * SIDE))
        picture = image.convert("RGB")
    truth = Scene(path.stem, (Placed(tuple(names), "", (0.1, 0.1, 0.9, 0.9)),), False, tuple(also))
    if seed is None:
        return picture, truth
    rng = random.Random(seed)
    width, height = (side * rng.uniform(0.75, 1.0) for side in picture.size)
    left, top = rng.uniform(0, picture.width - width), rng.uniform(0, picture.height - height)
    picture = picture.crop((round(left), round(top), round(left + width), round(top + height))).resize((SIDE, SIDE))
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _lit(picture, rng), truth
