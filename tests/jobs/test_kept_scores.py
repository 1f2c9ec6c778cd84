"""Scores that a folder keeps: read back are those that are asked for."""

from c3l.jobs.kept_scores import KeptScores
from c3l.records import AnswerScores, Sample, ScoredPair, ScoredSample

SCORES = AnswerScores((1,), ("x",), (-1.0,), (-2.0,))
PAIRS = [ScoredPair(Sample(name, "image", "data", "Q?", "A.", 0, 0), SCORES, 1.0, "lift", "drop") for name in "abc"]


def test_only_the_pairs_that_are_asked_for_are_held(tmp_path):
    kept = KeptScores(tmp_path)
    assert list(kept.keep(PAIRS)) == PAIRS
    assert kept.read({"b", "d"}) == ({"b": ScoredSample(PAIRS[1].sample, SCORES, "drop")}, {"image"})
    assert kept.read(()) == ({}, {"image"}), "of all that is kept"
