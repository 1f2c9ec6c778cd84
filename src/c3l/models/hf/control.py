"""Which tokens steer a chat, so that no text of a data set may hold them, and which are words of the model's own.

Tokenizers call both special: the end of a turn and the corner of a box. What steers is told by what it is for (the
beginning, the end, padding), by who writes it (the chat template, the processor in the place of an image), and by
its name where nobody says.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from c3l.markup.thoughts import MARKS, SPELLINGS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, ProcessorMixin

_MARK = re.compile(r"[<\[|\u25c1\uff5c{].*[>\]|\u25b7\uff5c}]")  # not a line break or a word, which tokenizers add too
# where something is, and what it is called
_GROUNDING = re.compile(
    r"[</\[|]*(?:object_ref|obj|object|ref|bbox|box|quad|point|polygon|poly|region|coord|loc|seg|det|grounding|phrase)"
    r"(?:[_-]?(?:start|end|begin|\d+))*[/|\]>]*",
    re.IGNORECASE,
)
_IMAGE = re.compile(
    r"image|(?<![a-z])im(?:g|_start|_end|_patch)(?![a-z])|vision|video|(?<![a-z])vid(?![a-z])|audio|speech|"
    r"row_\d+_col|global-img|media|pixel|slice|fake_token|tile|frame",
    re.IGNORECASE,
)
_TURN = re.compile(
    r"[<|\[/\uff5c]*(?:user|assistant|system|human|bot|tool\w*|observation|developer|function\w*|"
    r"(?:start|end|begin|beginning)[_\u2581]?of[_\u2581]?(?:text|turn|utterance|sentence|document)|"
    r"e[o0][stmdu](?:_id|_token)?|bo[st](?:_id|_token)?|endoftext|im_(?:start|end|sep)|(?:start|end)_header_id|"
    r"\w*pad\w*|mask|gmask|unk|cls|sep|sop|eop|\w*reserved\w*|fim_\w+|prefix|middle|suffix|inst|sys|system_prompt|"
    r"available_tools|python_tag|step_id|turn|think|return|call|channel|message|constrain|start|end|endofprompt|"
    r"(?:special|placeholder|dummy|unused|extra|extra_id)_?\d*)[>|\]\uff5c/]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ControlTokens:
    """The tokens that steer a chat.

    Attributes:
        texts: As they are spelled; Gemma 3 has thousands.
        lengths: Of each letter that they begin with how long they are.
        spaced: Those that a space put into a text can make.
        ids: Their ids.
        silent: Those of them that are left out where a written text is read: not the marks of a thought, which tell
            where the answer begins.
    """

    texts: frozenset[str]
    lengths: Mapping[str, Set[int]]
    spaced: frozenset[str]
    ids: frozenset[int]
    silent: frozenset[int]

    def find(self, text: str) -> str | None:
        """The longest token that a text spells, of several the first by its letters."""
        return min(self._spelled(text), key=_longest_first, default=None)

    def disarm(self, text: str) -> str:
        """The text with a space in each token that it spells, which makes it ordinary words.

        Rows of a data set that spell one are rejected before; this is for questions that are only asked, and for what
        judges read.
        """
        if not (found := self._spelled(text)):
            return text
        for token in sorted(found | self.spaced, key=_longest_first):
            text = text.replace(token, f"{token[0]} {token[1:]}")
        return text

    def _spelled(self, text: str) -> frozenset[str]:
        """Those that a text holds, looked up at each place where one may begin: most texts have no such place."""
        return self.texts.intersection(
            text[place : place + length]
            for letter, lengths in self.lengths.items()
            for place in _places(letter, text)
            for length in lengths
        )


def find_control_tokens(
    processor: "ProcessorMixin", tokenizer: "PreTrainedTokenizerBase", chat: str, stop_ids: Iterable[int]
) -> ControlTokens:
    """The tokens that steer a chat of this model.

    Args:
        processor: Its processor.
        tokenizer: Its tokenizer.
        chat: A conversation about an image as the chat template writes it, without words that could be tokens.
        stop_ids: At which the model ends its turn.
    """
    stops = {str(tokenizer.convert_ids_to_tokens(token)) for token in stop_ids}
    fixed = {*_named(tokenizer), *_named_by(processor), *stops}
    template = template_of(processor, tokenizer)
    added = {str(token): bool(token.special) for token in tokenizer.added_tokens_decoder.values()}
    # a pad of one letter, as some have it, is a letter wherever else it stands
    found = {token for token in fixed if len(token) > 1 and (added.get(token) or _MARK.fullmatch(token))}
    found |= {token for token, special in added.items() if _steers(token, template if special else chat, special)}
    known = tokenizer.get_vocab()  # a dictionary made anew by each call
    places = {known[token]: token for token in found if token in known}
    silent = {place for place, token in places.items() if not _tells_of_thoughts(token)}
    lengths: dict[str, set[int]] = {}
    for token in found:
        lengths.setdefault(token[0], set()).add(len(token))
    spaced = frozenset(token for token in found if " " in token)
    return ControlTokens(frozenset(found), lengths, spaced, frozenset(places), frozenset(silent))


def tell_control_token(token: str) -> str:
    """One line for a person about a text that holds it."""
    return f"the text holds {token}, which steers this model's chats and cannot be words in it; take it out"


def write_chat(render: Callable[..., str]) -> str:
    """A conversation about an image, with nothing in it but what the template writes."""
    question, answer = [{"type": "image"}, {"type": "text", "text": "A"}], [{"type": "text", "text": "A"}]
    asked = {"role": "user", "content": question}
    try:
        return render([asked, {"role": "assistant", "content": answer}, asked])
    except Exception:  # a template of some family's own; where such a chat is needed, its error is told
        return ""


def _longest_first(token: str) -> tuple[int, str]:
    return -len(token), token


def _places(letter: str, text: str) -> Iterator[int]:
    """Where a letter stands in a text."""
    place = text.find(letter)
    while place >= 0:
        yield place
        place = text.find(letter, place + 1)


def _steers(token: str, written: str, special: bool) -> bool:
    """Whether an added token steers, by what the template writes and by its name."""
    if not _MARK.fullmatch(token) or token in MARKS or _GROUNDING.fullmatch(token):
        return False
    named = special and (_IMAGE.search(token) or _TURN.fullmatch(token))
    return bool(named) or token in written


def _tells_of_thoughts(token: str) -> bool:
    return any(token in one.opening or token in one.closing for one in SPELLINGS)


def _named(tokenizer: "PreTrainedTokenizerBase") -> Iterator[str]:
    """What the tokenizer knows under a name: the beginning, the end, padding, a placeholder."""
    for value in tokenizer.special_tokens_map.values():
        if isinstance(value, str) and not _GROUNDING.fullmatch(value) and value not in MARKS:
            yield value


def _named_by(processor: "ProcessorMixin") -> Iterator[str]:
    """What the processor calls a token: placeholders, what stands around them."""
    for name, value in vars(processor).items():
        if name.endswith("_token") and value and not _GROUNDING.fullmatch(str(value)):
            yield str(value)


def template_of(processor: "ProcessorMixin", tokenizer: "PreTrainedTokenizerBase") -> str:
    """The source of the chat template; of several, all."""
    found = getattr(processor, "chat_template", None) or getattr(tokenizer, "chat_template", None) or ""
    return "\n".join(map(str, found.values())) if isinstance(found, dict) else str(found)
