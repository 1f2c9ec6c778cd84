"""Cells of the study's tables: a value with its interval, a difference, the three qualities side by side."""

import math
from collections.abc import Mapping

import numpy as np

from studies.picture_world.measure import interval


def show_share(row: Mapping[str, float]) -> str:
    """A value with its interval; nothing where it is not defined."""
    return "" if math.isnan(row["value"]) else f"{row['value']:.3f} ({row['low']:.2f}-{row['high']:.2f})"


def show_shares(right: np.ndarray) -> str:
    """The share of 1 in each column of a table of 0 and 1, a row a picture, with its interval."""
    return " | ".join(map(_show_column, right.T))


def _show_column(column: np.ndarray) -> str:
    low, high = interval(lambda rows: float(column[rows].mean()), len(column))
    return f"{column.mean():.2f} ({low:.2f}-{high:.2f})"


def show_signed(row: Mapping[str, float]) -> str:
    """A difference with its interval; nothing where no kind of question is frequent enough on both sides."""
    return "" if math.isnan(row["value"]) else f"{row['value']:+.3f} ({row['low']:+.2f} to {row['high']:+.2f})"


def show_qualities(row: Mapping[str, Mapping[str, float]]) -> str:
    """``true / specific / lift``; the interval is the lift's."""
    return f"{row['true']['value']:.3f} / {row['specific']['value']:.3f} / {show_signed(row['lift'])}"
