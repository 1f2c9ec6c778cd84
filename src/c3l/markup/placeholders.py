"""The spellings by which texts of data sets and models show an image, a film or a sound.

Only ``<image>`` is read as one, and only an exporter writes it. Every other spelling would stay as words in a question,
so a text that holds one is rejected, not cleaned: taking ``<image>`` out of ``<im<image>age>`` makes one, and what is
left may be no sentence.
"""

import re

PLACEHOLDER = "<image>"
EXACT = re.compile(r"(?<!<)<image>(?!>)")
PLACEHOLDERS = (PLACEHOLDER, "<video>", "<audio>")  # what trainers count in the text of an export

_MEDIUM = r"(?:image|img|picture|pic|photo|vision|visual|video|audio|speech|sound)"
_AFFIXES = r"(?:start_of_|begin_of_|end_of_|fake_token_around_|global[-_]|ph_|mm_|__)?"
_BARE = (
    # <image_1>, <ImageHere>, <start_of_image>
    rf"<[|/]?\s?(?:__dj__)?{_AFFIXES}{_MEDIUM}s?(?:here|content|token|placeholder|pad|feature|[\s_#:-]?\d{{1,4}}|[_-][\w-]{{1,40}})?(?:__)?\s?[|/]?>"
    rf"|<\|[^<>|\n]{{0,40}}(?:{_MEDIUM}|media)[^<>|\n]{{0,40}}\|>"  # <|media_pad|> of Kimi-VL
    r"|<__media__>|<row_\d{1,2}_col_\d{1,2}>"  # of llama.cpp, of Idefics3
    r"|<im_(?:start|end|patch|content|token)>|</?[be]o[iva]>|<\|?end_?of_?(?:image|chunk)\|?>"
    rf"|\[/?{_MEDIUM}(?:[ _#-]{{0,2}}\d{{1,4}}|_[a-z]{{1,20}})?\]"  # [IMG], [image 1]
    rf"|\$?\{{{{1,2}}\s?{_MEDIUM}s?(?:[_ ]?\d{{1,4}}|_[a-z]{{1,20}})?\s?\}}{{1,2}}"  # {image}
    rf"|&lt;{_MEDIUM}(?:_?\d{{1,4}})?&gt;"
)
# what shows an image in a web page, in Markdown or XML: code like any other in an answer about no image
_MARKUP = rf"<media(?:[ _-]?\d{{1,4}})?>|<{_MEDIUM}\b[^<>\n]{{1,200}}>|!\[[^\]\n]{{0,200}}\]\("
# What a chat template writes between turns. Where something is (`<|box_start|>`, `<|ref|>`) is part of an answer:
# whether it steers the chat of the model, scoring asks the model.
_CONTROL = (
    r"<\|(?!/?(?:object_ref|object|obj|ref|bbox|box|quad|point|polygon|poly|region|coord|loc|seg|det|grounding|phrase)"
    r"(?:_?(?:start|end|\d{1,5}))?\|>)[^<>|\n]{1,40}\|>"
)

_ANY = re.compile(f"{_BARE}|{_MARKUP}", re.IGNORECASE)
_ONLY_BARE = re.compile(_BARE, re.IGNORECASE)
_OR_CONTROL = re.compile(f"{_BARE}|{_MARKUP}|{_CONTROL}", re.IGNORECASE)


def split_at_images(text: str) -> list[str]:
    """The texts around the placeholders: one more than there are of them, each without white space that says nothing.

    That is white space between two placeholders, and at the ends of the whole text.
    """
    texts = [part if part.strip() else "" for part in EXACT.split(text)]
    if spoken := [place for place, part in enumerate(texts) if part]:
        texts[spoken[0]] = texts[spoken[0]].lstrip()
        texts[spoken[-1]] = texts[spoken[-1]].rstrip()
    return texts


def find_placeholder(text: str, *, markup: bool = True) -> str | None:
    """The first of them in a text, as it stands there.

    Args:
        text: A question, an answer or a system prompt.
        markup: Whether ``<img src="...">``, ``![...](...)`` and ``<media>`` count.
    """
    found = (_ANY if markup else _ONLY_BARE).search(text)
    return found[0] if found else None


def find_special(text: str) -> str | None:
    """As ``find_placeholder``, or the first token that a chat template writes between turns, such as ``<|im_end|>``."""
    found = _OR_CONTROL.search(text)
    return found[0] if found else None
