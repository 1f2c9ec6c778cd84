"""A model's chat template, with what was found out about it: a chat as it writes it, to be answered or written on."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from c3l.errors import BackendError
from c3l.models.hf.control import template_of
from c3l.models.hf.day import fix_day, tell_day
from c3l.models.hf.header import cut_header, find_header, tell_header
from c3l.models.hf.image_part import find_image_part
from c3l.models.hf.lead import Tokenise
from c3l.models.hf.thinking import find_thinking

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, ProcessorMixin

Chat = Sequence[Mapping[str, Any]]
Ending = Literal["write", "answer", "said"]  # where the model goes on, where an answer is given, or was given before

_SYSTEM, _FIRST, _SAID, _SECOND = "SYSTEMPROMPT", "FIRSTQUESTION", "SAIDBEFORE", "SECONDQUESTION"


class Chats:
    """Writes chats by a processor's template."""

    def __init__(self, processor: "ProcessorMixin", tokenizer: "PreTrainedTokenizerBase", tokenise: Tokenise) -> None:
        """Look at what the template writes.

        Args:
            processor: With a chat template.
            tokenizer: Its tokenizer, which may have it in its place.
            tokenise: A text becomes ids.
        """
        self._processor = processor
        source = template_of(processor, tokenizer)
        found = getattr(processor, "chat_template", None)
        chosen = found.get("default") if isinstance(found, Mapping) else found
        self._fixed = fix_day(chosen) if chosen and fix_day(chosen) != chosen else None
        self.header = ""
        self.header = cut_header(find_header(self.render), tokenise)
        self.thinking = find_thinking(self.render, source)
        self.image_part = find_image_part(self.render)
        self.notes = (self.thinking.note, tell_header(self.header), self.image_part.note, tell_day(chosen or ""))
        self._tails = self._find_tails()

    def render(self, chat: Chat, *, add_generation_prompt: bool = True, **settings: Any) -> str:
        """A chat as the template writes it, to where the model goes on."""
        if self._fixed is not None:
            settings = {**settings, "chat_template": self._fixed}
        text = self._processor.apply_chat_template(
            list(chat), add_generation_prompt=add_generation_prompt, tokenize=False, **settings
        )
        return f"{text}{self.header}" if add_generation_prompt else str(text)

    def render_to_answer(self, chat: Chat) -> str:
        """A chat as the template writes it, to where an answer is given."""
        return self.render(chat, **self.thinking.settings) + self.thinking.closing

    def write(self, chat: Chat, ending: Ending, *, blind: bool = False) -> str:
        """A chat to one of its ends, with its images or without.

        Args:
            chat: With its images.
            ending: Where the model goes on by itself; where an answer is given; or where one was given before another
                question, for which some templates take a thought away.
            blind: Leave the images out, and nothing else.

        Raises:
            BackendError: If they cannot be left out.
        """
        if not blind:
            return self._write(chat, ending)
        if self.image_part.obstacle:
            raise BackendError(self.image_part.obstacle)
        if not self.image_part.text:
            return self._write([{**turn, "content": _keep_texts(turn)} for turn in chat], ending)
        images = sum(len(turn["content"]) - len(_keep_texts(turn)) for turn in chat)
        return self.image_part.take_out(self._write(chat, ending), images)

    def _write(self, chat: Chat, ending: Ending) -> str:
        if ending == "write":
            return self.render(chat)
        text = self.render_to_answer(chat)
        return self.to_said(text) if ending == "said" else text

    @cached_property
    def takes_system(self) -> bool:
        """Whether a system prompt is shown, once and before the question, beside an image too."""
        return self._shows_system(blind=False) and (self._shows_system(blind=True) or not self._is_bare())

    def _shows_system(self, *, blind: bool) -> bool:
        try:
            text = self.write(ask(_FIRST, _SYSTEM), "write", blind=blind)
        except Exception:  # templates of all sorts refuse it by any error
            return False
        return text.count(_SYSTEM) == 1 and text.index(_SYSTEM) < text.index(_FIRST)

    def _is_bare(self) -> bool:
        """Whether the template writes a question without an image at all."""
        try:
            return _FIRST in self.write(ask(_FIRST), "write", blind=True)
        except Exception:  # as above
            return False

    def to_said(self, text: str) -> str:
        """A text that ends where an answer is given, as if that was given before another question."""
        tail, said = self._tails
        return f"{text.removesuffix(tail)}{said}" if text.endswith(tail) else text

    def _find_tails(self) -> tuple[str, str]:
        """What stands between a question and its answer: the one to be given, and one that was given before."""
        turns = ("user", _FIRST), ("assistant", _SAID), ("user", _SECOND)
        chat = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in turns]
        try:
            text = self.render_to_answer(chat)
        except Exception:  # a template of some family's own; where such a chat is needed, its error is told
            return "", ""
        tail, said = text.rpartition(_SECOND)[2], text.partition(_SAID)[0].rpartition(_FIRST)[2]
        if any(text.count(words) != 1 for _, words in turns) or tail.strip() == said.strip():
            return "", ""  # white space before an answer is the affair of ``find_lead``
        return tail, said


def ask(prompt: str, system: str = "") -> list[dict[str, Any]]:
    """A chat that asks about an image."""
    told = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    return [*told, {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]


def _keep_texts(turn: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [part for part in turn["content"] if part["type"] != "image"]
