"""What of somebody's data is scored or taught in another way than it asks for: counted, and told at the end."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from c3l.data.beside import has_files, has_maps
from c3l.data.choices import has_unread_options, is_absent
from c3l.data.layouts import CONTEXT, TURN_KEYS
from c3l.data.media import ImagePaths, list_paths
from c3l.data.names import fold_name
from c3l.data.shown import count_shown
from c3l.data.turns import Talk

_PHRASES = {
    "without_system": "without their system prompt, which the model's chat template does not show",
    "without_tools": "without the tools that their rows define",
    "without_rejected": "by their answers alone: the rejected ones beside them are not used",
    "without_objects": "without the `objects` that their rows list",
    "without_context": "without the `context` or `hint` of their rows",
    "without_options": "without the options of their rows, of which the answer is none",
    "without_maps": "without the masks or maps of pixels that lie beside their images",
    "without_files": "without files that other keys of their rows name beside the image",
    "without_earlier_turns": "without the turns before them",
    "image_first": "with their image before the first question, though a later one shows it",
    "row_weight": "as much as any other, whatever weight their rows have",
    "question_marked": "by their answers alone, though questions are marked as to be learned too",
    "untaught": "without some of their answers, which are marked as not to be learned",
    "text_only": "as text, since they name no image",
    "cut": "without the end of their answers, which finetuning.max_length cuts off",
    "link_not_followed": "not at all, since their image is a link that images.follow_links does not allow",
}


# of ms-swift and TRL: other answers, of which some are to be unlearned, and boxes
_OTHERS = ("rejected_response", "rejected_messages", "rejected_images", "rejected", "chosen")
_UNUSED = dict.fromkeys(_OTHERS, "without_rejected") | {"objects": "without_objects", "tools": "without_tools"}
_NOTHING: tuple[Any, ...] = (None, "", False, [], {}, "[]", "null")


def find_noted(row: Mapping[str, Any], talk: Talk, mark: str, image: ImagePaths) -> Iterator[str]:
    """What of a row is not used, in these words.

    Args:
        row: The row.
        talk: What was read in it.
        mark: As ``read_row_mark`` gives it.
        image: Its image, or its several.
    """
    if mark == "row_weight":
        yield mark
    if talk.questions_marked:
        yield "question_marked"
    if not isinstance(image, tuple) and count_shown(talk.questions[1:]):
        yield "image_first"
    if any(_is_unread(row.get(key), talk.questions) for key in CONTEXT):
        yield "without_context"
    if not any(row.get(key) for key in TURN_KEYS) and has_unread_options(row, talk.questions[-1]):
        yield "without_options"
    if has_maps(row):
        yield "without_maps"
    if image and has_files(row, list_paths(image)):
        yield "without_files"
    words = (_UNUSED.get(fold_name(str(key))) for key, value in row.items() if value not in _NOTHING)
    yield from dict.fromkeys(word for word in words if word)


def _is_unread(context: Any, questions: Sequence[str]) -> bool:
    """Whether something is to be read before the questions, and is not in them."""
    if not isinstance(context, str):
        return context not in _NOTHING
    return not is_absent(context) and not any(context.strip() in question for question in questions)


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
