"""Whole conversations as tokens: what an LVLM is taught to say, and what it is only told.

    system, user, image, question 1, assistant | answer 1 <end> | user, question 2, assistant | answer 2 <end>
    told                                           taught           told                          taught

What comes before the first answer is what ``ChatEncoder.encode_prompt`` gives at inference, token by token. The token
that ends a turn is taught, so that the LVLM stops there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from PIL.Image import Image

from c3l.errors import BackendError
from c3l.models.hf.encoded import EncodedPrompt
from c3l.models.hf.encoding import ChatEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FIRST, _ANSWER, _SECOND = "FIRSTQUESTION", "FIRSTANSWER", "SECONDQUESTION"


@dataclass(frozen=True, slots=True)
class EncodedConversation:
    """A conversation as tokens.

    Attributes:
        prompt: Everything before the first answer.
        ids: What follows.
        taught: For each of these whether it is taught.
        ends: For each of these whether it ends an answer.
    """

    prompt: EncodedPrompt
    ids: tuple[int, ...]
    taught: tuple[bool, ...]
    ends: tuple[bool, ...]

    def cut(self, longest: int) -> "EncodedConversation":
        """At most so many tokens in all, cut off at the end; nothing of the first prompt goes."""
        room = max(0, longest - len(self.prompt.ids))
        return EncodedConversation(self.prompt, self.ids[:room], self.taught[:room], self.ends[:room])

    def skip(self, numbers: frozenset[int]) -> "EncodedConversation":
        """The same with fewer taught tokens: without these, counted from the first taught one."""
        number = count()
        return replace(self, taught=tuple(taught and next(number) not in numbers for taught in self.taught))


class ConversationEncoder:
    """Turns question-answer turns into tokens, through the model's own chat template."""

    def __init__(self, encoder: ChatEncoder, stop_ids: frozenset[int]) -> None:
        """Find out how the template ends an answer and begins the next question.

        Raises:
            BackendError: If the template changes or hides what is said.
        """
        self._encoder = encoder
        chat = [
            {"role": "user", "content": [{"type": "text", "text": _FIRST}]},
            {"role": "assistant", "content": [{"type": "text", "text": _ANSWER}]},
            {"role": "user", "content": [{"type": "text", "text": _SECOND}]},
        ]
        text = encoder.render_to_answer(chat)
        if any(text.count(words) != 1 for words in (_FIRST, _ANSWER, _SECOND)):
            raise BackendError("the chat template does not show every turn of a conversation once: take another model")
        between, self._before_answer = text.split(_ANSWER)[1].split(_SECOND)
        self._before_said = encoder.chats.to_said(self._before_answer)
        self.end, self._before_question = _split_end(between, encoder.tokenizer, stop_ids)
        """The token that ends an answer."""
        self.written_end = between.removesuffix(self._before_question)
        """What the template writes for it, if anything, and what else of it goes."""

    def encode_prompt(
        self, prompt: str, image: Image | None, system: str, earlier: Sequence[tuple[str, str]]
    ) -> EncodedPrompt:
        """A prompt behind turns that were said before it, as ``encode`` has it before its last answer."""
        if not earlier:
            return self._encoder.encode_prompt(prompt, image, system)
        key = "behind", prompt, system, tuple(earlier)
        return self._encoder.keep(key, image, lambda: self._put_behind(prompt, image, system, earlier))

    def _put_behind(
        self, prompt: str, image: Image | None, system: str, earlier: Sequence[tuple[str, str]]
    ) -> EncodedPrompt:
        encoder = self._encoder
        first = encoder.encode_prompt(earlier[0][0], image, system, said=True)
        ids, questions = list(first.ids), [*(question for question, _ in earlier[1:]), prompt]
        for number, ((_, answer), question) in enumerate(zip(earlier, questions, strict=True), 1):
            told = self._ask(question, said=number < len(earlier))
            ids += [*encoder.encode_completion(answer), self.end, *told]
        types = {key: encoder.extend_types(row, len(ids)) for key, row in first.types.items()}
        return EncodedPrompt(tuple(ids), types, first.vision)

    def encode(
        self,
        turns: Sequence[tuple[str, str]],
        image: Image | None,
        system: str = "",
        untaught: frozenset[int] = frozenset(),
    ) -> EncodedConversation:
        """Questions with their answers, the image before the first question.

        Args:
            turns: At least one (question, answer).
            image: RGB image, or None for a conversation about none.
            system: What stands before all of it.
            untaught: Numbers of the turns whose answers are told, as the questions are. Where the template takes the
                empty thought of an earlier answer away, a taught answer keeps it, for there the model answers itself.
        """
        key = "conversation", tuple(turns), system, untaught
        return self._encoder.keep(key, image, lambda: self._encode(turns, image, system, untaught))

    def _encode(
        self, turns: Sequence[tuple[str, str]], image: Image | None, system: str, untaught: frozenset[int]
    ) -> EncodedConversation:
        encoder, said = self._encoder, untaught - {len(turns) - 1}
        ids: list[int] = []
        taught: list[bool] = []
        ends: list[bool] = []
        for number, (question, answer) in enumerate(turns):
            told = self._ask(question, said=number in said) if number else ()
            given = (*encoder.encode_completion(answer), self.end)
            ids += [*told, *given]
            taught += [False] * len(told) + [number not in untaught] * len(given)
            ends += [False] * (len(told) + len(given) - 1) + [True]
        prompt = encoder.encode_prompt(turns[0][0], image, system, said=0 in said)
        return EncodedConversation(prompt, tuple(ids), tuple(taught), tuple(ends))

    def _ask(self, question: str, *, said: bool) -> tuple[int, ...]:
        """The tokens between an answer's end and the next answer, which was ``said`` before another question or not."""
        after = self._before_said if said else self._before_answer
        return self._encoder.encode_between(self._before_question, question, after)


def _split_end(between: str, tokenizer: "PreTrainedTokenizerBase", stop_ids: frozenset[int]) -> tuple[int, str]:
    """The token that ends an answer, and what stands between it and the next question.

    A template that writes none, as that of LLaVA-1.5, ends its answers with the tokenizer's own end, and the next turn
    follows without a space, as LLaVA does.
    """
    found = []
    for token in stop_ids:
        place = between.find(text := str(tokenizer.convert_ids_to_tokens(token)))
        if place >= 0:
            found.append((place, token, between[place + len(text) :]))
    if found:
        _, token, rest = min(found)
        return token, rest
    return int(tokenizer.eos_token_id), between.lstrip(" ")
