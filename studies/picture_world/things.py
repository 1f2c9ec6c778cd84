"""The catalogue of things: cut-outs with a transparent background, each with its names, split into train and test."""

import argparse
import hashlib
import io
import json
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from studies.picture_world.kinds import with_kinds
from studies.picture_world.lexicon import VISIBLE, WordNet
from studies.picture_world.needs import call, need_file, need_programs

SOURCES = ("tuxpaint-stamps-default", "fonts-noto-color-emoji", "unicode-cldr-core", "openclipart-png", "wordnet-base")
SIDE = 320  # longest side of a stored cut-out, pixels
Image.MAX_IMAGE_PIXELS = None  # the packages are trusted, some drawings in them are very large
SIZE_WORDS = (
    "small little big large huge tiny very happy modern new old colorful colourful toy cute good great male female"
)
DROP = re.compile(
    r"\b(symbol|sign|roadsign|letter|number|chess|heart|hand|face|person|people|button|arrow|square|circle|clock face"
    r"|flag|skin|family|medium|zodiac|explosion|hair|eye|mouth|wing|wings|head|body|nose|ear|moustache|boom)\b"
)
COLOURS = {
    "red": (0, 18), "orange": (18, 42), "yellow": (42, 68), "green": (68, 165), "blue": (175, 262),
    "purple": (262, 305), "pink": (305, 345),
}  # fmt: skip
GREYS = ("black", "white", "grey")
ADJECTIVES = ("simple", "electric", "empty")  # with which names of drawings begin


@dataclass(frozen=True)
class Thing:
    """One cut-out.

    Attributes:
        thing_id: Hash of source and file.
        file: PNG under the world's ``things/`` folder.
        names: Nouns without article, most specific first: ("great blue heron", "heron", "bird", "animal").
        colour: Its one dominant colour, or "" where there is none.
        source: The package it comes from.
        photo: Whether it is (likely) a photograph rather than a drawing.
        split: train or test; decided by the name, so that no test *name picture* is seen in training.
    """

    thing_id: str
    file: str
    names: tuple[str, ...]
    colour: str
    source: str
    photo: bool
    split: str


def clean_phrase(text: str) -> str:
    """The noun phrase of a stamp's description: "A great blue heron." -> "great blue heron"; "" if none."""
    text = re.sub(r"\(.*?\)", "", text.replace("\u2019", "'").replace("\u201c", "").replace("\u201d", ""))
    text = re.split(
        r"[.!?,;:\u2014\u2013]|\b(?:that|which|is|are|used|with|in|on|for|from|worn|playing|covered|stands|has|inside|hatched)\b",
        text,
    )[0]
    words = re.sub(r"[^\w\s'-]", " ", text).strip().split()
    if not words or words[0].lower() in ("two", "three", "several", "many", "say", "remember", "our", "we"):
        return ""
    if words[0].lower() in ("a", "an", "the", "some"):
        words = words[1:]
    while words and words[0].lower() in SIZE_WORDS.split():
        words = words[1:]
    return " ".join(words).lower()


def names_of(phrase: str, net: WordNet, prefer: tuple[str, ...] = VISIBLE) -> tuple[str, ...]:
    """All names of a thing, most specific first; empty where WordNet does not know the thing."""
    phrase = re.sub(r"^(couple|bunch|cluster|tube|head|cup|glass|slice) of ", "", phrase)
    bare = re.sub(r"^pair of (closed |open )?", "", phrase)
    found = net.longest_suffix(bare, prefer)
    if not phrase or len(phrase.split()) > 4 or found is None:
        return ()
    tail, offset = found
    kinds = net.kinds(offset)
    if not kinds:
        return ()
    names = [phrase if phrase.startswith("pair of") else bare, tail, *kinds]
    return tuple(dict.fromkeys(n for n in names if n))


def colour_of(image: Image.Image, names: Sequence[str]) -> str:
    """The one colour of a cut-out; "" where its own name says another, and who is right is open."""
    colour, said = (
        dominant_colour(image),
        {word for name in names for word in name.split()} & {*COLOURS, *GREYS, "brown"},
    )
    return colour if not said or colour in said else ""


def dominant_colour(image: Image.Image) -> str:
    """The one colour that most of the opaque pixels have, or ""."""
    pixels = np.asarray(image.convert("RGBA").resize((48, 48)))
    opaque = pixels[..., 3] > 128
    if opaque.sum() < 50:
        return ""
    hsv = np.asarray(Image.fromarray(pixels[..., :3]).convert("HSV")).astype(float)[opaque]
    hue, sat, val = hsv[:, 0] * 360 / 255, hsv[:, 1] / 255, hsv[:, 2] / 255
    shares = {
        "black": float((val < 0.22).mean()),
        "white": float(((sat < 0.14) & (val > 0.82)).mean()),
        "grey": float(((sat < 0.16) & (val >= 0.22) & (val <= 0.82)).mean()),
    }
    vivid = (sat >= 0.25) & (val >= 0.3)
    brown = (hue >= 10) & (hue < 45) & (sat >= 0.2) & (val < 0.68) & (val >= 0.2)
    shares["brown"] = float(brown.mean())
    for name, (low, high) in COLOURS.items():
        inside = (hue >= low) & (hue < high) & vivid & ~brown
        if name == "red":
            inside |= (hue >= 345) & vivid
        shares[name] = float(inside.mean())
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= 0.6 else ""


def trimmed(image: Image.Image) -> Image.Image | None:
    """A cut-out without its empty border, at most SIDE pixels long; None where nothing is transparent."""
    image = image.convert("RGBA")
    alpha = np.asarray(image)[..., 3]
    if (alpha < 40).mean() < 0.03 or (alpha > 200).mean() < 0.03:
        return None
    box = image.getchannel("A").point(lambda a: 255 if a > 40 else 0).getbbox()
    image = image.crop(box)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image if min(image.size) >= 40 else None


def stamps(world: Path, net: WordNet) -> Iterator[tuple[str, Image.Image, tuple[str, ...], bool]]:
    """Tux Paint's stamps: mostly photographs, described in the first line of the ``.txt`` beside them."""
    root = world / "tuxpaint-stamps-default/usr/share/tuxpaint/stamps"
    for text in sorted(root.rglob("*.txt")):
        if "symbols" in text.parts or "roadsigns" in text.parts or "naturalforces" in text.parts:
            continue
        folder = text.relative_to(root).parts[0]
        prefer = {"animals": ("05",), "food": ("13", "20"), "plants": ("20", "13")}.get(folder, VISIBLE)
        phrase = clean_phrase(text.read_text(encoding="utf-8").splitlines()[0])
        names = names_of(phrase, net, prefer) or names_of(phrase, net)
        picture = next((p for p in (text.with_suffix(".png"), text.with_suffix(".svg")) if p.exists()), None)
        if names and picture and not DROP.search(names[0]):
            image = _rasterised(picture)
            yield (
                str(text.relative_to(root)),
                image,
                names,
                picture.suffix == ".png" and "cartoon" not in text.parts,
            )


def _rasterised(path: Path) -> Image.Image:
    if path.suffix == ".png":
        return Image.open(path)
    png = subprocess.run(["rsvg-convert", "-h", str(SIDE), str(path)], capture_output=True, check=True).stdout
    return Image.open(io.BytesIO(png))


def emoji(world: Path, net: WordNet) -> Iterator[tuple[str, Image.Image, tuple[str, ...], bool]]:
    """Noto's colour emoji, named by CLDR's short names."""
    font = ImageFont.truetype(
        str(world / "fonts-noto-color-emoji/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"), 109
    )
    tree = ET.parse(world / "unicode-cldr-core/usr/share/unicode/cldr/common/annotations/en.xml")
    for node in tree.iter("annotation"):
        name, char = (node.text or "").lower(), node.get("cp", "")
        if node.get("type") != "tts" or ":" in name or len(char) > 2 or ord(char[0]) < 0x2600 or DROP.search(name):
            continue
        names = names_of(name, net)
        if names and len(name.split()) <= 3 and net.is_thing_first(names[min(1, len(names) - 1)]):
            image = Image.new("RGBA", (136, 128), (0, 0, 0, 0))
            ImageDraw.Draw(image).text((0, 0), char, font=font, embedded_color=True)
            yield f"U+{ord(char[0]):X}", image, names, False


def clipart(world: Path, net: WordNet) -> Iterator[tuple[str, Image.Image, tuple[str, ...], bool]]:
    """Open Clip Art drawings whose file name begins with a noun that WordNet knows and people use."""
    root = world / "openclipart-png/usr/share/openclipart/png"
    for folder in (
        "animals",
        "food",
        "plants",
        "transportation",
        "recreation",
        "tools",
        "buildings",
        "containers",
    ):
        for path in sorted((root / folder).rglob("*.png")):
            words = re.split(r"[_\d.-]+", path.stem.lower())
            name = next((w for w in words[:1] if len(w) > 2 and net.is_thing_first(w)), "")
            names = names_of(name, net) if name else ()
            if name in ADJECTIVES and net.is_thing_first(words[1]) and not DROP.search(words[1]):
                names = names_of(words[1], net) or names
            if names and not DROP.search(name) and not {"bw", "symbols", "cards"} & set(words):
                try:
                    yield str(path.relative_to(root)), Image.open(path), names, False
                except OSError:
                    continue


def build(world: Path) -> list[Thing]:
    """Write every cut-out under ``world/things`` with ``things.jsonl`` beside them; returns the catalogue."""
    net = WordNet.read(world / "wordnet-base/usr/share/wordnet")
    folder = world / "things"
    folder.mkdir(exist_ok=True)
    things: list[Thing] = []
    for source, reader in (("stamps", stamps), ("emoji", emoji), ("clipart", clipart)):
        for file, image, said, photo in reader(world, net):
            cut = trimmed(image)
            if cut is None:
                continue
            thing_id = hashlib.sha256(f"{source}:{file}".encode()).hexdigest()[:12]
            cut.save(folder / f"{thing_id}.png")
            split = split_of(thing_id) if source == "stamps" else "train"
            names = with_kinds(said)
            things.append(Thing(thing_id, f"{thing_id}.png", names, colour_of(cut, names), source, photo, split))
    lines = "".join(json.dumps(asdict(thing)) + "\n" for thing in things)
    (world / "things.jsonl").write_text(lines, encoding="utf-8")
    return things


def split_of(thing_id: str) -> str:
    """One stamp in five is kept for testing, decided by its id alone."""
    return "test" if int(thing_id, 16) % 5 == 0 else "train"


def load(world: Path) -> list[Thing]:
    """The catalogue that ``build`` wrote."""
    rows = (json.loads(line) for line in (world / "things.jsonl").read_text(encoding="utf-8").splitlines())
    return [Thing(**{**row, "names": tuple(row["names"])}) for row in rows]


def main() -> None:
    """Build in the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", type=Path)
    world = parser.parse_args().world
    need_programs("rsvg-convert")
    for package in SOURCES:
        need_file(world / package, call("fetch", world))
    catalogue = build(world)
    print(len(catalogue), "things,", sum(t.split == "test" for t in catalogue), "for testing")


if __name__ == "__main__":
    main()
