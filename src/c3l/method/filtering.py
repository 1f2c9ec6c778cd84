"""Filtering: which scored pairs are kept, and the controls that any claim about S(I2C) stands beside."""

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby

from c3l.errors import ConfigError
from c3l.method.i2c import compute_i2c, unit_of
from c3l.method.selection import RankedPair, by_rank, rank_pairs
from c3l.records import FilterDecision, Form, ScoredPair, make_id
from c3l.settings.schema import FilteringConfig, FilterRule

_IN_TWO_STEPS: tuple[FilterRule, ...] = ("top_fraction", "top_k")


@dataclass(frozen=True, slots=True)
class _Pair(RankedPair):
    """What rules look at of a pair; ``kind`` is the stratum that it is in, or that of its image.

    Attributes:
        form: Of S(I2C).
        length: Tokens of the answer.
        first: The score that the first of two steps looks at; 0 where there is but one.
    """

    form: Form = "lift"
    length: int = 0
    first: float = 0.0


def filter_samples(scored: Iterable[ScoredPair], config: FilteringConfig, seed: int) -> list[FilterDecision]:
    """One row a sample, kept or not, with the rule and its number; by image id, then rank.

    The order of the input changes nothing: ties are broken by sample id. A share of n pairs is rounded up.
    With ``stratify``, the rule is applied within each image, instruction or first word of a question (``openings``: and
    of its answer) by itself; the last two keep the mixture of kinds of question, and of yes and no, as it was.
    With ``first``, ``top_fraction`` and ``top_k`` keep k of n in two steps of the same part: the sqrt(k n) highest by
    that form, and of these the k with the highest S(I2C).

    Args:
        scored: Samples with finite S(I2C), each once.
        config: The rule and its numbers.
        seed: Orders the pairs under the rule ``random``, where ``config`` names no other.

    Raises:
        ConfigError: If the form of ``first`` needs numbers that were not measured.
    """
    samples = {one.sample.sample_id: _take(one, config) for one in scored}
    seed = seed if config.seed is None else config.seed
    verdicts: dict[str, tuple[bool, str]] = {}
    for where, stratum in _strata(samples.values(), config):
        verdicts |= _judge(stratum, where, config, seed)
    return [
        FilterDecision(
            sample_id=sample_id,
            image_id=samples[sample_id].image_id,
            i2c=samples[sample_id].i2c,
            rank=rank,
            role=role,
            kept=verdicts[sample_id][0],
            reason=verdicts[sample_id][1],
        )
        for sample_id, (rank, role) in rank_pairs(samples.values()).items()
    ]


_READ_BY: dict[str, tuple[FilterRule, ...]] = {  # settings that say nothing under other rules
    "min_score": ("threshold",),
    "max_score": ("threshold",),
    "seed": ("random",),
    "band": ("band",),
    "first": _IN_TWO_STEPS,
    "count": ("top_fraction", "top_k", "random", "longest", "lowest"),
    "fraction": ("top_fraction", "random", "longest", "lowest"),
}


def tell_unused(config: FilteringConfig) -> str:
    """A line for who named a limit that the rule does not look at; empty where it looks at all."""
    fields = FilteringConfig.model_fields
    named = [key for key in _READ_BY if getattr(config, key) != fields[key].default]
    unused = [key for key in named if config.rule not in _READ_BY[key]]
    told = []
    for rules, keys in groupby(unused, key=lambda key: _READ_BY[key]):
        limits, others = " and ".join(f"filtering.{key}" for key in keys), " or ".join(rules)
        told.append(f"filtering.rule={config.rule} does not look at {limits}: set filtering.rule={others} to filter so")
    if config.count is not None and "fraction" in named and "fraction" not in unused:
        told.append(
            f"filtering.count={config.count} stands before filtering.fraction: set filtering.count=null to use it"
        )
    return "; ".join(told)


def _take(one: ScoredPair, config: FilteringConfig) -> _Pair:
    """The pair without its texts and tokens."""
    sample, first = one.sample, 0.0
    if config.first and config.rule in _IN_TWO_STEPS:
        try:
            first = compute_i2c(one.scores, config.first)
        except ValueError as error:
            raise ConfigError(f"filtering.first={config.first}: {error}, or set filtering.first=null") from None
    kinds = {"instruction": sample.instruction_id, "opening": sample.opening, "openings": sample.openings}
    kind = sys.intern(kinds.get(config.stratify, ""))
    length = len(one.scores.token_ids)
    return _Pair(sample.sample_id, sys.intern(sample.image_id), one.i2c, kind, one.form, length, first)


def _strata(pairs: Iterable[_Pair], config: FilteringConfig) -> list[tuple[str, list[_Pair]]]:
    """What the rule is applied within, each with how reasons name it; the best is always that of an image."""
    by_image = config.stratify == "image" or config.rule == "best_per_image"

    def key(one: _Pair) -> tuple[str, str]:
        return one.image_id if by_image else "", one.kind

    strata = []
    for (_, name), stratum in groupby(sorted(pairs, key=key), key):
        where = (" of its image" if by_image else "") + (f" of {config.stratify} {name}" if name else "")
        strata.append((where, list(stratum)))
    return strata


def _judge(stratum: list[_Pair], where: str, config: FilteringConfig, seed: int) -> dict[str, tuple[bool, str]]:
    """Kept or not, and why, by sample id."""
    if config.rule == "all":
        return {one.sample_id: (True, "all") for one in stratum}
    if config.rule == "threshold":
        return {one.sample_id: _compare(one, config) for one in stratum}
    left_out: dict[str, tuple[bool, str]] = {}
    if config.first and config.rule in _IN_TWO_STEPS:
        stratum, left_out, where = _take_first(stratum, config.first, where, config)
    total = len(stratum)
    kept, rule = _places_kept(total + len(left_out), config)
    place_is = "rank" if config.rule in ("top_fraction", "top_k", "best_per_image") else "place"
    return left_out | {
        one.sample_id: (place in kept, f"{rule}: {place_is} {place} of {total}{where}")
        for place, one in enumerate(sorted(stratum, key=_sort_key(config.rule, seed)), start=1)
    }


def _take_first(
    stratum: list[_Pair], form: Form, where: str, config: FilteringConfig
) -> tuple[list[_Pair], dict[str, tuple[bool, str]], str]:
    """Those that the first step keeps, the verdicts on the others, and what the second is applied in, for reasons."""
    order = sorted(stratum, key=lambda one: (-one.first, one.sample_id))
    total = len(stratum)
    wanted, rule = _places_kept(total, config)
    share = math.ceil(math.sqrt(min(len(wanted), total) * total))
    places = {one.sample_id: place for place, one in enumerate(order, start=1)}
    left_out = {
        name: (False, f"{rule}, first by {form}: rank {place} of {total}{where}")
        for name, place in places.items()
        if place > share
    }
    stays = [one for one in stratum if places[one.sample_id] <= share]
    return stays, left_out, f"{where} left by {form}"


def _compare(one: _Pair, config: FilteringConfig) -> tuple[bool, str]:
    low = -math.inf if config.min_score is None else config.min_score
    high = math.inf if config.max_score is None else config.max_score
    return low <= one.i2c <= high, f"threshold {low:g} to {high:g}: {one.i2c:.4g} {unit_of(one.form)}"


def _places_kept(total: int, config: FilteringConfig) -> tuple[range, str]:
    """The places, counted from 1, that the rule keeps of so many, and the rule with its number."""
    if config.rule == "band":
        low, high = config.band
        # rounded to the nearest place, so that neighbouring bands neither overlap nor leave a gap
        first, last = math.floor(low * total + 0.5) + 1, math.floor(high * total + 0.5)
        return range(first, last + 1), f"band {low:g} to {high:g}"
    if config.rule == "best_per_image":
        return range(1, 2), "best_per_image"
    if config.count is not None:
        return range(1, config.count + 1), f"{config.rule} {config.count}"
    share = math.ceil(round(config.fraction * total, 9))  # 0.07 * 100 is 7.000000000000001
    return range(1, share + 1), f"{config.rule} {config.fraction:g}"


def _sort_key(rule: FilterRule, seed: int) -> Callable[[_Pair], tuple[float | str, str]]:
    """The order in which the rule counts places."""

    def by_hash(one: _Pair) -> tuple[str, str]:
        # of the id, so that a sample's place among the others does not depend on who they are
        return make_id("random", seed, one.sample_id), one.sample_id

    def by_falling_length(one: _Pair) -> tuple[int, str]:
        return -one.length, one.sample_id

    def by_rising_score(one: _Pair) -> tuple[float, str]:
        return one.i2c, one.sample_id

    if rule == "random":
        return by_hash
    if rule == "longest":
        return by_falling_length
    return by_rising_score if rule in ("lowest", "band") else by_rank
