"""Chats that show several images, each where its text has it: encoded together, as the processor wants them.

What a processor makes of an image may hang on the others (LLaVA-OneVision shows several without their tiles, others
pad them to one size), so nothing is put together from images by themselves. Answers that were said before are
tokenised on their own, as everywhere; what stands around them is one text:

    user, image, question 1, assistant | answer 1 | <end> user, image, question 2, assistant
    the processor                          alone      the processor
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PIL.Image import Image

from c3l.errors import BackendError
from c3l.markup.placeholders import PLACEHOLDER, split_at_images
from c3l.models.hf.along import ALONG_KEYS
from c3l.models.hf.conversations import ConversationEncoder
from c3l.models.hf.encoded import EncodedPrompt, to_prompt
from c3l.models.hf.encoding import ChatEncoder

_SAID = "SAIDBEFORE{}HERE"


def place_images(prompts: Sequence[str], count: int) -> list[list[dict[str, str]]]:
    """The parts of the user's turns: the texts, and between them the images.

    Args:
        prompts: What the user says, with an ``<image>`` for each image; images for which there is none come first.
        count: How many images there are; 0 to leave them all out.

    Raises:
        BackendError: If there are more placeholders than images.
    """
    texts = [split_at_images(prompt) for prompt in prompts]
    shown = sum(len(of_prompt) - 1 for of_prompt in texts)
    if 0 < count < shown:
        raise BackendError(f"got {shown} {PLACEHOLDER} for {count} images, expected at most one for each")
    turns: list[list[dict[str, str]]] = []
    for number, of_prompt in enumerate(texts):
        parts = [{"type": "image"}] * (0 if number else max(0, count - shown))
        for place, text in enumerate(of_prompt):
            parts += [{"type": "image"}] * (place > 0 and count > 0)
            parts += [{"type": "text", "text": text}] if text else []
        turns.append(parts if any(of_prompt) else [*parts, {"type": "text", "text": ""}])  # each turn has a text
    return turns


class ImageSetEncoder:
    """Turns prompts about several images into tokens, and the images into the tensors of all of them."""

    def __init__(self, encoder: ChatEncoder, turns: ConversationEncoder | None) -> None:
        """Wrap what encodes a chat.

        Args:
            encoder: It.
            turns: What knows how turns end; None where the chat template does not show every turn.
        """
        self._encoder, self._turns = encoder, turns

    def encode_prompt(
        self, prompt: str, images: tuple[Image, ...], system: str, earlier: Sequence[tuple[str, str]]
    ) -> EncodedPrompt:
        """A prompt about several images, or about none where they are left out, behind what was said before it.

        Raises:
            BackendError: If the chat template hides or changes a turn.
        """
        key = "several", prompt, system, tuple(earlier)
        return self._encoder.keep(key, images, lambda: self._encode(prompt, images, system, earlier))

    def write(self, prompts: Sequence[str], count: int, system: str) -> list[str]:
        """The texts before each answer, the last one to be given: chats as the template writes them, with placeholders.

        Raises:
            BackendError: As above.
        """
        encoder, answers = self._encoder, [_SAID.format(number) for number in range(len(prompts) - 1)]
        chat: list[dict[str, Any]] = []
        shown = count or max(1, sum(len(split_at_images(prompt)) - 1 for prompt in prompts))
        for number, parts in enumerate(place_images(prompts, shown)):
            told = [
                {**part, "text": encoder.control.disarm(part["text"])} if "text" in part else part for part in parts
            ]
            chat.append({"role": "user", "content": told})
            if number < len(answers):
                chat.append({"role": "assistant", "content": [{"type": "text", "text": answers[number]}]})
        if system:
            chat.insert(0, {"role": "system", "content": [{"type": "text", "text": encoder.control.disarm(system)}]})
        texts, rest = [], encoder.chats.write(chat, "answer", blind=not count)
        for answer in answers:
            before, found, rest = rest.partition(answer)
            if not found or answer in rest:
                raise BackendError("the chat template does not show every turn of a conversation once")
            texts.append(before.removesuffix(encoder.gap))  # which the answer's own tokens begin with
        return [*texts, rest]

    def _encode(
        self, prompt: str, images: tuple[Image, ...], system: str, earlier: Sequence[tuple[str, str]]
    ) -> EncodedPrompt:
        texts = self.write([*(question for question, _ in earlier), prompt], len(images), system)
        if not earlier:
            return to_prompt(self._encoder.process(texts, [images] if images else None))
        assert self._turns is not None, "without turns none is asked for"
        end, written = self._turns.end, self._turns.written_end
        if not all(text.startswith(written) for text in texts[1:]):
            raise BackendError("the chat template ends an answer otherwise before an image")
        texts = [texts[0], *(text.removeprefix(written) for text in texts[1:])]
        joined = str(self._encoder.tokenizer.convert_ids_to_tokens(end)).join(texts)
        whole = to_prompt(self._encoder.process([joined], [images] if images else None))
        # the end of a turn is written in other places too: in each text so many times
        counts = [self._encoder.tokenise(text).count(end) for text in texts]
        ends = [place for place, token in enumerate(whole.ids) if token == end]
        if len(ends) != sum(counts) + len(earlier):
            raise BackendError("the tokens that end the turns of a conversation cannot be told apart")
        breaks = [ends[sum(counts[: number + 1]) + number] for number in range(len(earlier))]
        return _insert(whole, breaks, [self._encoder.encode_completion(answer) for _, answer in earlier])


def _insert(prompt: EncodedPrompt, breaks: Sequence[int], answers: Sequence[tuple[int, ...]]) -> EncodedPrompt:
    """The prompt with each answer before the token at its break."""
    ids: list[int] = []
    types: dict[str, tuple[int, ...]] = dict.fromkeys(prompt.types, ())
    sources: list[int] = []  # where a token's row of what goes along the text comes from
    done = 0
    for place, answer in zip((*breaks, len(prompt.ids)), (*answers, ()), strict=True):
        ids += [*prompt.ids[done:place], *answer]
        sources += [*range(done, place), *[place - 1] * len(answer)]
        for key, given in prompt.types.items():
            types[key] += given[done:place] + (0,) * len(answer)  # it is plain text of what comes before the last one
        done = place
    along = {key: prompt.vision[key][:, sources] for key in ALONG_KEYS if key in prompt.vision}
    return replace(prompt, ids=tuple(ids), types=types, vision={**prompt.vision, **along})
