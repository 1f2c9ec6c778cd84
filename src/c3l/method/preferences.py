"""Preferences: two texts about one image of which one has the higher S(I2C), for trainers that learn by comparing.

S(I2C) says how much a text depends on its image, not that it is true: what is learned is to lean on the image.
"""

from collections.abc import Iterable, Mapping, Set

from c3l.method.pair_checks import fold
from c3l.method.prompts import InstructionTemplate
from c3l.method.selection import by_falling_score
from c3l.records import Preference, ScoredPair


def prefer_answers(scored: Iterable[ScoredPair], kept: Set[str]) -> list[Preference]:
    """Of every question that an image was asked more than once: the best kept answer against the worst answer.

    Within a round no question is asked of an image twice, so both come from different rounds; give only those rounds
    whose scores are of one model. A question with one answer, or with several of the same text, has no preference.

    Args:
        scored: Pairs of one form, in order of importance: that of the first of a question is the order of the result.
        kept: Ids of the samples that the filter kept, the only ones that are preferred.
    """
    questions: dict[tuple[str, str], list[ScoredPair]] = {}
    for one in scored:
        questions.setdefault((one.sample.image_id, fold(one.sample.question)), []).append(one)
    out = []
    for answers in questions.values():
        if found := _best_and_worst(answers, {one.sample.sample_id: fold(one.sample.answer) for one in answers}, kept):
            better, worse = found
            texts = better.sample.question, better.sample.answer, worse.sample.answer
            out.append(Preference(*texts, better, worse))
    return out


def prefer_pairs(
    scored: Iterable[ScoredPair], kept: Set[str], templates: Mapping[str, InstructionTemplate]
) -> list[Preference]:
    """Of every image and instruction: the best kept question-answer pair against the worst, each as a whole reply.

    The prompt is the instruction, asked for one pair; so this teaches an LVLM which pairs to write, not to answer.

    Args:
        scored: As of ``prefer_answers``.
        kept: As of ``prefer_answers``.
        templates: The run's instructions, by id.
    """
    asked: dict[tuple[str, str], list[ScoredPair]] = {}
    for one in scored:
        asked.setdefault((one.sample.image_id, one.sample.instruction_id), []).append(one)
    out = []
    for (_, instruction), pairs in asked.items():
        texts = {one.sample.sample_id: fold(one.sample.question + one.sample.answer) for one in pairs}
        if found := _best_and_worst(pairs, texts, kept):
            template = templates[instruction]
            chosen, rejected = (template.write_reply([(one.sample.question, one.sample.answer)]) for one in found)
            out.append(Preference(template.render(1), chosen, rejected, *found))
    return out


def _best_and_worst(
    pairs: Iterable[ScoredPair], texts: Mapping[str, str], kept: Set[str]
) -> tuple[ScoredPair, ScoredPair] | None:
    """The highest S(I2C) among the kept, and the lowest of all that is below it and another text."""
    ranked = sorted(pairs, key=by_falling_score)
    best = next((one for one in ranked if one.sample.sample_id in kept), None)
    if best is None:
        return None
    same = texts[best.sample.sample_id]
    worse = [one for one in ranked if one.i2c < best.i2c and texts[one.sample.sample_id] != same]
    return (best, worse[-1]) if worse else None
