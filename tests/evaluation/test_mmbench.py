"""MMBench by hand: rotations, categories, and answers that name no option."""

import pytest

from c3l.data.choices import write_question
from c3l.errors import DataError
from c3l.evaluation.choices import match_option
from c3l.evaluation.mmbench import read_mmbench
from c3l.evaluation.statistics import estimate
from c3l.evaluation.task import Prediction

OPTIONS = {"A": "a dog", "B": "a cat", "C": "two cats"}
ANSWERS = [
    ("B", "B"),
    ("B.", "B"),
    ("(C)", "C"),
    ("The answer is B", "B"),
    ("A dog", "A"),
    ("I think it is a cat", "B"),
    ("A", "A"),
    ("A. a dog", "A"),
    ("A or B", None),
    ("", None),
    ("a bird", None),
    ("a dog and a cat", None),
    ("D", None),
    ("A picture of something else", None),
    ("A cat", "B"),
    ("A bird", None),
]


@pytest.mark.parametrize(("text", "letter"), ANSWERS)
def test_an_option_is_named_once_or_not_at_all(text, letter):
    assert match_option(text, OPTIONS) == letter


def write(folder, rows, columns="index question hint A B C D answer category l2-category image"):
    names = columns.split()
    lines = ["\t".join(names)] + ["\t".join(str(row.get(name, "")) for name in names) for row in rows]
    path = folder / "mmbench.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


def make_row(index, answer="A", category="what", **more):
    return {"index": index, "question": "What?", "A": "dog", "B": "cat", "C": "owl", "answer": answer,
            "category": category, "l2-category": "seeing", "image": "QUJD"} | more  # fmt: skip


def answer(benchmark, right):
    """Right where ``right`` says so of an item's id, else a wrong letter."""
    made = {}
    for row in benchmark._rows:
        wrong = next(letter for letter in row.options if letter != row.answer)
        made[row.item.item_id] = Prediction(row.item.item_id, row.answer if right(row.item.item_id) else wrong)
    return made


def figures_of(benchmark, predictions):
    tally = benchmark.tally(predictions, "exact")
    return tally, {name: one.value for name, one in estimate(tally, benchmark.figures, draws=20).items()}


def test_a_question_counts_only_if_it_is_right_in_every_rotation(tmp_path):
    rows = [make_row(7), make_row(1_000_007, "C"), make_row(8, "B", "count"), make_row(1_000_008, "A", "count")]
    benchmark = read_mmbench(write(tmp_path, rows))
    assert [item.item_id for item in benchmark.items] == ["7", "1000007", "8", "1000008"]
    tally, found = figures_of(benchmark, answer(benchmark, lambda name: name != "1000008"))
    assert (found["circular"], found["vanilla"]) == (0.5, 1.0)
    assert (found["category:what"], found["category:count"], found["ability:seeing"]) == (1.0, 0.0, 0.5)
    assert tally.units == ("7", "8")


def test_the_first_questions_are_taken_with_their_rotations(tmp_path):
    rows = [make_row(7), make_row(8, "B"), make_row(1_000_008, "A"), make_row(1_000_007, "C")]
    assert [item.item_id for item in read_mmbench(write(tmp_path, rows)).take(1).items] == ["7", "1000007"]


def test_rotations_are_made_where_there_are_none_and_keep_the_right_option(tmp_path):
    benchmark = read_mmbench(write(tmp_path, [make_row(3, "B")]))
    assert [item.item_id for item in benchmark.items] == ["3", "1000003", "2000003"]
    assert [row.options[row.answer] for row in benchmark._rows] == ["cat"] * 3
    assert [row.answer for row in benchmark._rows] == ["B", "A", "C"]
    assert "A. cat\nB. owl\nC. dog" in benchmark.items[1].prompt
    _, found = figures_of(benchmark, {item.item_id: Prediction(item.item_id, "B") for item in benchmark.items})
    assert (found["circular"], found["vanilla"]) == (0.0, 1.0)  # a model that always says B


def test_what_names_no_option_is_wrong_and_counted(tmp_path):
    benchmark = read_mmbench(write(tmp_path, [make_row(1), make_row(1_000_001)]))
    texts = {"1": "A", "1000001": "perhaps"}
    tally, found = figures_of(benchmark, {name: Prediction(name, text) for name, text in texts.items()})
    assert (tally.unparsed, tally.failed, found["circular"], found["vanilla"]) == (1, 0, 0.0, 1.0)


def test_the_prompt_is_llavas_and_absent_options_are_left_out(tmp_path):
    rows = [make_row(1, hint="Look well.", C="nan"), make_row(1_000_001)]
    item = read_mmbench(write(tmp_path, rows)).items[0]
    assert item.prompt == (
        "Look well.\nWhat?\nA. dog\nB. cat\nAnswer with the option's letter from the given choices directly."
    )
    assert item.image == "data:;base64,QUJD"
    assert write_question("Q?", {"A": "x"}).startswith("Q?\nA. x\n")


def test_a_picture_may_stand_in_another_row(tmp_path):
    benchmark = read_mmbench(write(tmp_path, [make_row(1), make_row(2, image="1"), make_row(1_000_001, image="1")]))
    assert {item.image for item in benchmark.items} == {"data:;base64,QUJD"}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([make_row(1, "D")], "the answer 'D', expected one of A, B, C"),
        ([make_row(1, image="9")], "image of row 9"),
        ([make_row(1_000_001), make_row(2), make_row(1_000_002)], "not the question itself"),
        ([make_row(1), make_row(2), make_row(2)], "index 2 more than once"),
        ([make_row(1), make_row("one")], "row 2 has the index 'one'"),
    ],
)
def test_another_file_is_one_line(rows, said, tmp_path):
    with pytest.raises(DataError, match=said):
        read_mmbench(write(tmp_path, rows))
    with pytest.raises(DataError, match="no column"):
        read_mmbench(write(tmp_path, rows, "index question A B category image"))


def test_cells_as_people_have_them_are_read(tmp_path):
    wrapped = "QUJD\nREVG"
    rows = [make_row("1.0", answer="a", image=f'"{wrapped}"'), make_row("2", image="data:image/png;base64,QUI")]
    items = read_mmbench(write(tmp_path, [*rows, make_row(3, image="1.0", B="None", D="N/A")])).items
    assert [item.item_id for item in items if int(item.item_id) < 10] == ["1", "2", "3"]
    assert {item.image for item in items} == {"data:;base64,QUJDREVG", "data:image/png;base64,QUI="}
    assert "B. None\nC. owl\nD. N/A" in items[6].prompt


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (make_row(1, image=""), "row 1, question 1, has no image"),
        (make_row(1, image="['QUJD', 'QUJD']"), "row 1, question 1, has a list of images"),
        (make_row(1, image="Q" * 32_767), "where Excel cuts cells off"),
        (make_row(1, answer=""), "row 1, question 1, has no answer; the test split comes without"),
        (make_row(1, B="None", C="None"), "several options None"),
        (make_row("1e6"), "row 1 has the index '1e6'"),
    ],
)
def test_a_cell_that_cannot_be_meant_is_one_line(row, said, tmp_path):
    with pytest.raises(DataError, match=said):
        read_mmbench(write(tmp_path, [row]))


def test_a_release_that_numbers_its_questions_from_above_is_read(tmp_path):
    alone = read_mmbench(write(tmp_path, [make_row(3_000_861), make_row(3_000_862)]))
    assert [item.item_id for item in alone.items][:4] == ["3000861", "4000861", "5000861", "3000862"]
    rotated = [make_row(7), make_row(1_000_007), make_row(2_000_007)]
    rotated += [make_row(n * 1_000_000 + 861) for n in (3, 4, 5)]
    both = read_mmbench(write(tmp_path, rotated))
    assert (len(both.items), both.incomplete) == (6, 0)
    _, found = figures_of(both, answer(both, lambda name: name != "7"))
    assert (found["circular"], found["vanilla"]) == (0.5, 0.5)


def test_questions_that_lack_rotations_are_counted(tmp_path):
    rows = [make_row(7), make_row(1_000_007), make_row(8), *(make_row(n * 1_000_000 + 9) for n in range(3))]
    assert read_mmbench(write(tmp_path, rows)).incomplete == 2
