from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from studies.picture_world.scenes import Painter, Scene, photograph
from studies.picture_world.things import Thing, dominant_colour, trimmed

RED, BLUE = (220, 20, 20, 255), (20, 40, 220, 255)


@pytest.fixture
def painter(tmp_path: Path) -> Painter:
    (tmp_path / "things").mkdir()
    things = []
    for name, colour in (("ball", RED), ("box", BLUE)):
        Image.new("RGBA", (60, 40), colour).save(tmp_path / "things" / f"{name}.png")
        things.append(Thing(name, f"{name}.png", (name,), "red" if name == "ball" else "blue", "test", True, "train"))
    return Painter(tmp_path, things, [])


def test_a_scene_is_decided_by_its_seed(painter: Painter) -> None:
    (one, truth), (again, same), (other, _) = painter.paint("a", "1"), painter.paint("a", "1"), painter.paint("a", "2")
    assert truth == same
    assert np.array_equal(np.asarray(one), np.asarray(again))
    assert not np.array_equal(np.asarray(one), np.asarray(other))


def test_the_truth_says_where_the_pixels_are(painter: Painter) -> None:
    seen = 0
    for seed in range(40):
        image, scene = painter.paint("s", str(seed))
        if len(scene.placed) == 1:
            placed = scene.placed[0]
            pixel = image.getpixel((round(placed.x * 223), round(placed.y * 223)))
            assert isinstance(pixel, tuple)
            assert (pixel[0] > pixel[2]) == (placed.names[0] == "ball")
            seen += 1
    assert seen > 5


def test_what_the_background_shows_is_never_false(tmp_path: Path, painter: Painter) -> None:
    Image.new("RGB", (80, 80), (240, 180, 60)).save(tmp_path / "sunset.png")
    behind = Painter(tmp_path, painter.things, [(tmp_path / "sunset.png", ("sunset", "sun"))])
    also = {behind.paint("s", str(seed))[1].also for seed in range(20)}
    assert also == {(), ("sunset", "sun")}  # plain colours stand behind too


def test_things_hardly_overlap(painter: Painter) -> None:
    for seed in range(30):
        boxes = [p.box for p in painter.paint("s", str(seed))[1].placed]
        for i, a in enumerate(boxes):
            for b in boxes[i + 1 :]:
                width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                smaller = min((r[2] - r[0]) * (r[3] - r[1]) for r in (a, b))
                assert max(width, 0) * max(height, 0) < 0.11 * smaller


def test_a_scene_comes_back_from_its_json(painter: Painter) -> None:
    _, scene = painter.paint("s", "7")
    assert Scene.from_json(scene.to_json()) == scene


def test_a_photograph_is_whole_without_a_seed_and_cropped_with_one(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)).save(tmp_path / "p.png")
    whole, truth = photograph(tmp_path / "p.png", ("cat",), ("sofa",), None)
    crop, _ = photograph(tmp_path / "p.png", ("cat",), (), "seed")
    assert whole.size == (400, 300)
    assert crop.size == (224, 224)
    assert not truth.complete
    assert truth.also == ("sofa",)


def test_colours_are_named_only_where_one_rules() -> None:
    half = Image.new("RGBA", (40, 40), RED)
    half.paste(BLUE, (0, 0, 40, 20))
    assert dominant_colour(Image.new("RGBA", (40, 40), RED)) == "red"
    assert dominant_colour(half) == ""


def test_a_picture_without_transparency_is_no_cut_out() -> None:
    framed = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    framed.paste(RED, (20, 30, 80, 90))
    assert trimmed(Image.new("RGBA", (100, 100), RED)) is None
    cut = trimmed(framed)
    assert cut is not None
    assert cut.size == (60, 60)
