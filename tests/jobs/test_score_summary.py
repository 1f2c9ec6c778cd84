"""What the rows of a scored file say together, on rows written by hand."""

from typing import Any

from c3l.jobs.score_summary import summarise_rows, tell_summary
from c3l.settings.schema import ScoringConfig

SCORING = ScoringConfig(no_image="others", others=4)


def row(name: str, lift: float | None, answer: str = "Yes.") -> dict[str, Any]:
    return {"image": f"{name}.jpg", "question": f"What is {name}?", "answer": answer, "lift": lift}


def names(rows: Any) -> str:
    return "".join(one["image"][0] for one in rows)


def summarise(*rows: dict[str, Any]) -> Any:
    return summarise_rows(iter(rows), SCORING)


def test_both_ends_of_many_rows_and_the_first_of_equal_ones() -> None:
    lifts = {"a": 0.2, "b": -0.3, "c": 0.9, "d": 0.2, "e": 0.0, "f": 0.0, "g": 0.2, "h": -0.1, "i": 0.0}
    found = summarise(*(row(name, lift) for name, lift in lifts.items()))
    assert (names(found.most), names(found.least)) == ("cad", "bhe")
    assert (found.specificity.pairs, found.specificity.specific) == (9, 4)


def test_few_rows_stand_at_one_end_only() -> None:
    found = summarise(row("a", 0.1), row("b", 0.2), row("c", 0.3))
    assert (names(found.most), names(found.least)) == ("cb", "a")
    found = summarise(row("a", 0.1))
    assert (names(found.most), names(found.least)) == ("a", "")


def test_rows_without_a_lift_count_nowhere() -> None:
    older = {"image": "old.jpg", "question": "?", "answer": "No.", "i2c": 0.4}
    found = summarise(row("a", None, "No."), older, row("b", 0.5))
    assert (found.specificity.pairs, found.specificity.says_no, names(found.most)) == (1, 0, "b")
    assert summarise(row("a", None)) is None


def test_images_of_no_row_that_stood_for_no_image_are_counted() -> None:
    for drawn, over in (((), "a grey image"), ("ab", "another image"), ("abc", "2 other images")):
        found = summarise_rows([row("a", 0.3)], SCORING, [f"{name}.jpg" for name in drawn])
        assert found is not None and found.specificity.over == over


def test_every_line_fits_and_says_the_lift_the_picture_and_the_words() -> None:
    long = "No, " + "word " * 100
    lines = list(tell_summary(summarise(row("a", 0.4567), row("b", -0.05, long)), width=60))
    assert lines[0] == "50% of 2 pairs are specific to their image (lift >= 0.2 over another image), 50% say no"
    assert lines[1] == "highest lift +0.457  a.jpg  What is a? Yes."
    assert lines[2].startswith("lowest lift -0.050  b.jpg  What is b? No, word ")
    assert len(lines[2]) == 60 and lines[2].endswith("\N{HORIZONTAL ELLIPSIS}")
