"""Which images the questions of a row show, and what of a question is text.

One image stands before the first question, and its placeholder leaves the text. Several stand where the text has
them, so their placeholders stay in it; a turn is about those that were shown up to it. A text without any is about all.
"""

import re
from collections.abc import Sequence

from c3l.data.media import ImagePaths
from c3l.data.rejection import BadRowError
from c3l.markup.placeholders import EXACT, PLACEHOLDER

# white space is looked at from where it begins, or of a long run without a placeholder every end would be
_AROUND = re.compile(rf"(?:(?<!\s)\s++)?{EXACT.pattern}\s*")


def check_shown(questions: Sequence[str], image: ImagePaths) -> None:
    """Compare the placeholders in the questions with the images that there are.

    Raises:
        BadRowError: ``no_image`` or ``several_images``.
    """
    shown = count_shown(questions)
    if shown and not image:
        raise BadRowError("no_image", "the text shows an image, the row has none")
    had = len(image) if isinstance(image, tuple) else 1
    if shown > had or (isinstance(image, tuple) and 0 < shown < had):
        number = "one" if had == 1 else str(had)
        raise BadRowError("several_images", f"the text shows {shown} images by {PLACEHOLDER}, the row has {number}")


def show_until(questions: Sequence[str], image: ImagePaths, turn: int) -> ImagePaths:
    """The image of a row; or those of its several that are shown up to a turn, empty if none is by then."""
    if not isinstance(image, tuple) or not count_shown(questions):
        return image
    return image[: count_shown(questions[: turn + 1])]


def count_shown(questions: Sequence[str]) -> int:
    """How many placeholders there are."""
    return sum(len(EXACT.findall(question)) for question in questions)


def trim_question(text: str, image: ImagePaths) -> str:
    """The text of a question: with the placeholders of several images, without that of one."""
    return text.strip() if isinstance(image, tuple) else without_placeholder(text)


def without_placeholder(text: str) -> str:
    """The text without any placeholder, and without the white space around it."""
    return _AROUND.sub(lambda match: "\n" if "\n" in match.group() else " ", text).strip()
