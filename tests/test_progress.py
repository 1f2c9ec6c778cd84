"""What is said on stderr: now and then, and never what could steer the terminal."""

import io
import os
import pty

from c3l.progress import PlainProgress, cut_line, find_width, format_rate, format_seconds, make_progress, printable


def test_control_characters_never_reach_the_terminal():
    hostile = "a\x1b[31mred\x1b]0;title\x07 b\u202eevil\u2066 c\nd\te\x9bm\x00\udc80 caf\u00e9 \U0001f600"
    assert printable(hostile) == "a[31mred]0;title bevil c d em caf\u00e9 \U0001f600"


def test_plain_lines_come_now_and_then_and_at_the_end():
    stream = io.StringIO()
    with PlainProgress(stream, every=0).track("draft/scored", "pairs", 10, done=4) as advance:
        advance(2)
    first, last = stream.getvalue().splitlines()
    assert first.startswith("c3l: draft/scored: 6 of 10 pairs, ")
    assert first.endswith("left")
    assert last.startswith("c3l: draft/scored: 6 pairs in ")


def test_a_file_gets_no_bars():
    assert isinstance(make_progress(io.StringIO()), PlainProgress)


def test_durations_and_rates_are_for_people():
    assert [format_seconds(seconds) for seconds in (0.25, 200, 7500)] == ["0.2 s", "3 min 20 s", "2 h 05 min"]
    assert [format_rate(rate) for rate in (12.34, 0.5)] == ["12.3/s", "30.0/min"]


def test_a_line_is_cut_to_the_columns_that_it_takes():
    assert cut_line("exactly ten", 11) == "exactly ten"
    assert cut_line("exactly ten", 10) == "exactly t\u2026"
    assert cut_line("one\ntwo\x1b[31m", 20) == "one two[31m"
    assert cut_line("\u72d7" * 5, 10) == "\u72d7" * 5, "letters that are two columns wide"
    assert cut_line("\u72d7" * 6, 10) == "\u72d7" * 4 + "\u2026"
    assert cut_line("e\u0301" * 10, 10) == "e\u0301" * 10, "an accent of its own takes none"


def test_a_file_has_room_for_a_line():
    assert find_width(io.StringIO(), otherwise=100) == 100 - len("c3l: ")
    here, there = pty.openpty()  # nobody has said how wide it is
    with os.fdopen(here, "wb"), os.fdopen(there, "w") as stream:
        assert find_width(stream, otherwise=100) == 100 - len("c3l: ")
