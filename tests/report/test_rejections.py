from c3l.records import Rejected
from c3l.report.rejections import MAX_LISTED, read_rejections


def reject(number: int, image: str, reason: str, stage: str = "parsing") -> Rejected:
    return Rejected(f"{number}", image, stage, reason, "detail")


def test_all_are_counted_and_only_what_is_shown_is_held() -> None:
    many = [reject(number, f"{number % 500}", "empty" if number % 3 else "odd") for number in range(1500)]
    view = read_rejections((one for one in many), {"7", "8"})
    assert (view.total, view.reasons) == (1500, [("parsing", "empty", 1000), ("parsing", "odd", 500)])
    assert list(view.listed) == many[:MAX_LISTED]
    assert {image: [one.id for one in rows] for image, rows in view.by_image.items()} == {
        "7": ["7", "507", "1007"],
        "8": ["8", "508", "1008"],
    }


def test_equal_counts_stand_by_name() -> None:
    rows = [reject(1, "a", "odd"), reject(2, "a", "empty"), reject(3, "a", "odd", "images")]
    assert [stage_reason[:2] for stage_reason in read_rejections(rows, ()).reasons] == [
        ("images", "odd"),
        ("parsing", "empty"),
        ("parsing", "odd"),
    ]
