"""SEED-Bench by hand: by written letters and by likelihood, with and without videos."""

import gzip
import json

import pytest

from c3l.errors import DataError
from c3l.evaluation.seed_bench import read_seed_bench
from c3l.evaluation.statistics import estimate
from c3l.evaluation.task import Prediction


def write(folder, videos=1, **more):
    kinds = ["image"] * 3 + ["video"] * videos
    questions = [
        {
            "answer": "ABCD"[n % 4],
            **{f"choice_{letter}": f"thing {letter}{n}" for letter in "abcd"},
            "data_id": f"{n // 2}_data",
            "data_type": kind,
            "question": "What is it?",
            "question_id": str(100 + n),
            "question_type_id": 1 if kind == "image" else 10,
        }
        | more
        for n, kind in enumerate(kinds)
    ]
    path = folder / "SEED-Bench.json"
    path.write_text(json.dumps({"questions": questions, "question_type": {"Scene": 1, "Action": 10}}))
    return path


def figures_of(benchmark, rule, predictions):
    made = {item.item_id: one for item, one in zip(benchmark.items, predictions, strict=True)}
    tally = benchmark.tally({name: one for name, one in made.items()}, rule)
    return tally, {name: one.value for name, one in estimate(tally, benchmark.figures, draws=20).items()}


def texts(benchmark, *written):
    return [Prediction(item.item_id, text) for item, text in zip(benchmark.items, written, strict=True)]


def test_without_frames_there_is_no_total_and_the_videos_are_counted(tmp_path):
    benchmark = read_seed_bench(write(tmp_path), None, "generation", tmp_path)
    assert (len(benchmark.items), benchmark.left_out) == (3, 1)
    _, found = figures_of(benchmark, "llava", texts(benchmark, "A", "B", "D"))
    assert next(iter(found)) == "image"
    assert found["image"] == found["Scene"] == pytest.approx(2 / 3)
    assert "total" not in found


def with_a_frame(folder, videos):
    (folder / "frames").mkdir()
    (folder / "frames" / "103.png").write_bytes(b"")
    (folder / "0_data.jpg").write_bytes(b"")
    return read_seed_bench(write(folder, videos=videos), "frames", "generation", folder)


def test_with_all_frames_the_total_is_over_all_questions(tmp_path):
    benchmark = with_a_frame(tmp_path, videos=1)
    assert benchmark.left_out == 0
    assert [item.image for item in benchmark.items] == ["0_data.jpg", "0_data.jpg", "1_data", "frames/103.png"]
    _, found = figures_of(benchmark, "llava", texts(benchmark, "A", "B", "C", "A"))
    assert next(iter(found)) == "total"
    assert (found["total"], found["image"], found["video"], found["Action"]) == (0.75, 1.0, 0.0, 0.0)


def test_with_some_frames_there_is_no_total(tmp_path):
    benchmark = with_a_frame(tmp_path, videos=2)
    assert benchmark.left_out == 1
    _, found = figures_of(benchmark, "llava", texts(benchmark, "A", "B", "C", "A"))
    assert list(found.items())[:2] == [("image", 1.0), ("video", 0.0)] and "total" not in found


def test_llavas_rule_wants_the_letter_alone_and_the_other_reads_more(tmp_path):
    benchmark = read_seed_bench(write(tmp_path), None, "generation", tmp_path)
    written = texts(benchmark, " A\n", "B.", "thing c2")
    tally, found = figures_of(benchmark, "llava", written)
    assert (tally.unparsed, found["image"]) == (2, pytest.approx(1 / 3))
    tally, found = figures_of(benchmark, "match", written)
    assert (tally.unparsed, found["image"]) == (0, 1.0)


def test_by_likelihood_the_highest_mean_wins_and_the_first_of_equals(tmp_path):
    benchmark = read_seed_bench(write(tmp_path), None, "likelihood", tmp_path)
    assert benchmark.rules == ("likelihood",)
    assert benchmark.items[0].choices == ("thing a0", "thing b0", "thing c0", "thing d0")
    assert benchmark.items[0].prompt == "What is it?"
    numbers = [(-1.0, -1.0, -2.0, -3.0), (-2.0, -1.0, -3.0, -4.0), (-1.0, -2.0, -3.0, -4.0)]
    made = [Prediction(item.item_id, likelihoods=one) for item, one in zip(benchmark.items, numbers, strict=True)]
    _, found = figures_of(benchmark, "likelihood", made)
    assert found["image"] == pytest.approx(2 / 3)


def test_questions_about_one_picture_are_drawn_together(tmp_path):
    benchmark = read_seed_bench(write(tmp_path), None, "generation", tmp_path)
    tally, _ = figures_of(benchmark, "llava", texts(benchmark, "A", "B", "C"))
    assert tally.units == ("0_data", "1_data")


def test_questions_about_one_video_are_drawn_together(tmp_path):
    (tmp_path / "frames").mkdir()
    for name in ("103", "104"):
        (tmp_path / "frames" / f"{name}.jpg").write_bytes(b"")
    benchmark = read_seed_bench(write(tmp_path, videos=2, data_id="1.mp4"), "frames", "generation", tmp_path)
    assert [item.image for item in benchmark.items[3:]] == ["frames/103.jpg", "frames/104.jpg"]
    tally, _ = figures_of(benchmark, "llava", texts(benchmark, *"AAAAA"))
    assert tally.units == ("1.mp4",)


def test_another_file_is_one_line(tmp_path):
    path = tmp_path / "SEED-Bench.json"
    path.write_text("[]")
    with pytest.raises(DataError, match=r"expected SEED-Bench\.json"):
        read_seed_bench(path, None, "generation", tmp_path)
    path.write_text('{"questions": [{"question_id": 1}], "question_type": {}}')
    with pytest.raises(DataError, match=r"row 1 has no data_type; expected SEED-Bench\.json"):
        read_seed_bench(path, None, "generation", tmp_path)
    path.write_text('{"questions": [[]], "question_type": {}}')
    with pytest.raises(DataError, match="another shape"):
        read_seed_bench(path, None, "generation", tmp_path)
    with pytest.raises(DataError, match="has the answer 'E'"):
        read_seed_bench(write(tmp_path, answer="E"), None, "generation", tmp_path)


def test_rows_as_people_have_them_are_read(tmp_path):
    path = write(tmp_path, videos=0, answer="b", question_type_id="1", data_type="Image", question_id=7.0, choice_a=3)
    content = json.loads(path.read_text())
    path.write_bytes(gzip.compress(json.dumps(content | {"questions": content["questions"][:1]}).encode("utf-8-sig")))
    benchmark = read_seed_bench(path, None, "generation", tmp_path)
    assert [(item.item_id, "A. 3" in item.prompt) for item in benchmark.items] == [("7", True)]
    _, found = figures_of(benchmark, "llava", texts(benchmark, "B"))
    assert found["Scene"] == 1.0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"level": "L1"}, "is of SEED-Bench-2"),
        ({"data_type": "Multiple Images"}, "row 1 has the data_type 'multiple images' of SEED-Bench-2"),
        ({"data_type": "film"}, "row 1 has the data_type 'film', expected image or video"),
        ({"data_id": ["a", "b"]}, "row 1 has data_id"),
        ({"choice_c": None}, "row 1 has choice_c None"),
        ({"question": None}, "row 1 has question None"),
        ({"question": "\ud83d"}, "row 1 has half a character .* in question"),
        ({"choice_b": "\ud83d"}, "row 1 has half a character .* in choice_b"),
        ({"question_id": "\ud83d"}, "row 1 has half a character .* in question_id"),
        ({"question_type_id": 5}, "row 1 has the question_type_id 5"),
    ],
)
def test_a_row_that_is_not_of_the_benchmark_is_one_line(more, said, tmp_path):
    with pytest.raises(DataError, match=said):
        read_seed_bench(write(tmp_path, **more), None, "generation", tmp_path)
