"""What of somebody's data is scored or taught in another way than it asks for: counted, and told at the end."""

from collections.abc import Iterator, Mapping

_PHRASES = {
    "without_system": "without their system prompt, which the model's chat template does not show",
    "without_tools": "without the tools that their rows define",
    "without_rejected": "by their answers alone: the rejected ones beside them are not used",
    "without_objects": "without the `objects` that their rows list",
    "without_earlier_turns": "without the turns before them",
    "image_first": "with their image before the first question, though a later one shows it",
    "row_weight": "as much as any other, whatever weight their rows have",
    "question_marked": "by their answers alone, though questions are marked as to be learned too",
    "untaught": "without some of their answers, which are marked as not to be learned",
    "text_only": "as text, since they name no image",
    "cut": "without the end of their answers, which finetuning.max_length cuts off",
    "link_not_followed": "not at all, since their image is a link that images.follow_links does not allow",
}


def tell_noted(counts: Mapping[str, int], done: str, all_of: str) -> Iterator[str]:
    """A line for each word.

    Args:
        counts: How many, by word.
        done: Such as ``scored``.
        all_of: Such as ``28 turns``.
    """
    for word, phrase in _PHRASES.items():
        if counts.get(word):
            yield f"{counts[word]} of {all_of} were {done} {phrase}"
