"""What the paper's setting costs: the arithmetic by hand, and the table in the documents as the program prints it."""

from pathlib import Path

import pytest
from benchmarks.estimate_paper import Card, Work, estimate, format_table

ROOT = Path(__file__).parents[2]
H100 = Card(flops=989e12, bandwidth=3.35e12, share=0.4)


def hours(work, card=H100):
    return [hours for _, _, hours in estimate(work, card)]


def test_the_documents_table_is_what_the_program_prints():
    assert format_table(Work(), H100) in (ROOT / "docs/reproduce-paper.md").read_text(encoding="utf-8")


def test_reading_writing_and_tuning_by_hand():
    card = Card(flops=2e12, bandwidth=14.1e9, share=0.5)  # 1e12 FLOP/s; one step a second
    draft, _, contrastive, *_ = hours(Work(images=3600, written=8, batch=4, instruction=24), card)
    tower = 2 * 0.30e9 * 576
    assert draft == pytest.approx((2 * 6.74e9 * 600 + tower) / 1e12 + 8 / 4)
    assert contrastive == pytest.approx((3 * 2 * 6.74e9 * 608 + tower) / 1e12)


def test_what_rows_share_is_computed_once_in_a_tree():
    work = Work(pairs=5, frame=10, question=20, answer=20)
    assert work.as_tree == (576 + 10 + 5 * 40) + (10 + 5 * 40)
    assert work.as_rows == 5 * (576 + 10 + 40) + 5 * (10 + 40)
    assert Work(pairs=1).as_tree == Work(pairs=1).as_rows


def test_full_tuning_costs_a_forward_more_than_lora_and_checkpointing_another():
    costs = [Work(checkpointing=redo).forwards(method) for method in ("lora", "full") for redo in (False, True)]
    assert costs == [2, 3, 3, 4]
