"""Where a chat becomes tensors, and nowhere else.

One scored row has P prompt tokens c (image tokens among them) and N completion tokens a. The token at a
position predicts the one after it, so the last completion token is asked about but never fed:

    position         0    1   ...  P-1   P   P+1 ... P+N-2 | padding on the right
    input_ids       c_0  c_1  ... c_P-1 a_1  a_2 ... a_N-1 | pad ...
    predicts        c_1  c_2  ...  a_1  a_2  a_3 ...  a_N  |  -
    completion_mask  0    0   ...   1    1    1  ...   1   |  0

Rows of a scored batch are padded on the right, where a causal model cannot see it and positions stay as they
are; prompts to be continued by ``generate`` are padded on the left. The end-of-turn token after an answer is
not scored: S(I2C) is about what the answer says, not about where it stops.
"""

import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from threading import RLock
from typing import TYPE_CHECKING, Any

import torch
from PIL.Image import Image
from torch import Tensor

from c3l.errors import BackendError
from c3l.models.hf.along import ALONG_KEYS, lay_along
from c3l.models.hf.begins import Begins
from c3l.models.hf.chats import Chats, Ending, ask
from c3l.models.hf.control import find_control_tokens, write_chat
from c3l.models.hf.encoded import TEXT_KEYS, TYPE_KEYS, EncodedPrompt, EncodedRow, RowBatch, pad, to_prompt
from c3l.models.hf.expansion import Expansion, learn_expansion
from c3l.models.hf.header import find_turn_end
from c3l.models.hf.kept import Encoded, KeptEncodings
from c3l.models.hf.lead import find_lead
from c3l.models.hf.processed import ProcessedImages
from c3l.models.hf.processors import forget_length
from c3l.models.interface import Shown

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin


# of plain text after a prompt: 0, but for a family that reads the prompt (0) as a whole and its answer (1) word by word
_ANSWER_TYPES = {"PaliGemmaProcessor": 1}


class ChatEncoder:
    """Turns prompts, images and completions into ids and tensors through a model's own processor."""

    def __init__(self, processor: "ProcessorMixin", model: "PreTrainedModel | None" = None) -> None:
        """Wrap an ``AutoProcessor``, left as it is but for a length that its tokenizer once cut texts at.

        Args:
            processor: With a tokenizer and a chat template.
            model: Its model, which may end its turns with other tokens than the tokenizer's own end, and read no token
                types.

        Raises:
            BackendError: If the processor has no chat template, no tokenizer, or one that ends every prompt.
        """
        self._kept = KeptEncodings()
        self._reading = RLock()  # tokenizers change how they pad, which none may do while another thread reads
        self._processed = ProcessedImages(getattr(processor, "image_processor", None))
        self._processor = copy(processor)
        self._processor.image_processor = self._processed
        self.tokenizer: Any = getattr(processor, "tokenizer", None)
        if self.tokenizer is None or not getattr(processor, "chat_template", None):
            raise BackendError(
                f"got a {type(processor).__name__} without tokenizer or chat template, expected both; "
                "add chat_template.jinja to the model's folder"
            )
        forget_length(self.tokenizer)
        pad = self.tokenizer.pad_token_id
        self.pad_id: int = self.tokenizer.eos_token_id if pad is None else pad
        self._begins = Begins(processor, self.tokenizer)
        self.chats = Chats(self._processor, self.tokenizer, self.tokenise)
        self.render, self.render_to_answer = self.chats.render, self.chats.render_to_answer
        written = write_chat(self.render)
        if told := self._begins.tell_end(written):
            self._processor.tokenizer = self.tokenizer = self._begins.without_end(self.tokenizer)
        self.notes = (*self.chats.notes, told)
        """What is done otherwise with this model than with most, a line each; some are empty."""
        self.thinking = self.chats.thinking
        self.turn_end = find_turn_end(self.render, self.tokenizer)
        ends = () if model is None else stop_ids(model, self)
        # tokenizers of BERT's kind give token types, whether or not the model reads any
        read = TYPE_KEYS if model is None else inspect.signature(model.forward).parameters
        self._unread = frozenset(TYPE_KEYS).difference(read)
        self.control = find_control_tokens(processor, self.tokenizer, written, ends)
        render_said = partial(self.render, add_generation_prompt=False)
        self._lead = find_lead(self.render_to_answer, render_said, self.tokenise, self.tokenizer.added_tokens_encoder)
        self._placeholder = _placeholder(processor, self.tokenizer)
        self._added = self.tokenizer.added_tokens_decoder  # asked for, all are read anew
        self._answer_type = _ANSWER_TYPES.get(type(processor).__name__, 0)
        self._expansions: dict[int, tuple[Image, Expansion, Mapping[str, Tensor]]] = {}

    @contextmanager
    def batch(self) -> Iterator[None]:
        """A block in which an image and a text are read once, however often they come; at its end they are forgotten.

        What was prepared or read in advance waits for the block that asks for it.
        """
        if self._processed.keeps:  # a block within a block
            yield
            return
        self._processed.keeps = self._kept.keeps = True
        try:
            yield
        finally:
            self._processed.keeps = self._kept.keeps = False
            self._processed.clear()
            self._expansions.clear()
            self._kept.clear()

    def prepare(self, image: Image) -> None:
        """Process in advance, in the thread that calls this, an image that a coming ``batch`` will show alone."""
        self._processed.prepare(image)

    def read_ahead(self, encode: Callable[[], None]) -> None:
        """Encode in advance, in the thread that calls this, texts that a coming ``batch`` will have."""
        self._kept.read_ahead(encode)

    @property
    def takes_system(self) -> bool:
        """Whether the chat template shows a system prompt, once and before the question, beside an image too."""
        return self.chats.takes_system

    def encode_prompt(
        self, prompt: str, image: Image | None, system: str = "", *, to_write: bool = False, said: bool = False
    ) -> EncodedPrompt:
        """One user turn, with or without an image, through the processor's chat template.

        Args:
            prompt: The user's words.
            image: RGB image, or None.
            system: The system prompt before them; empty for none.
            to_write: The model goes on by itself, in a thought where it is one that thinks; else an answer is given,
                which stands behind an empty thought there.
            said: The answer was given before another question; some templates write less before it then.
        """
        ending = _ending(to_write, said)
        return self.keep((prompt, system, ending), image, lambda: self._encode_prompt(prompt, image, system, ending))

    def keep(self, key: Hashable, shown: Shown | None, encode: Callable[[], Encoded]) -> Encoded:
        """What is encoded under this key about these very images, once within a block of ``batch``."""
        return self._kept.keep(key, shown, encode)

    def _encode_prompt(self, prompt: str, image: Image | None, system: str, ending: Ending) -> EncodedPrompt:
        plain = () if image is None else self._encode_plain(prompt, system, ending)
        if id(image) in self._expansions:
            _, expansion, vision = self._expansions[id(image)]
            if inserted := expansion.insert(plain):
                return EncodedPrompt(*inserted, vision)
        output = self._process([prompt], [image] if image is not None else None, ending, system)
        encoded = to_prompt(output)
        # Idefics2's processor sets an image apart by a space from letters, and not from "<" or white space
        if image is not None and prompt[:1].isalpha() and encoded.vision.keys().isdisjoint(ALONG_KEYS):
            learned = learn_expansion(self._added, self._placeholder, plain, encoded.ids, encoded.types)
            if learned and self._processed.keeps:  # the image is kept too, so that no other one can take over its id
                self._expansions[id(image)] = (image, learned, encoded.vision)
        return encoded

    def encode_plain(
        self, prompt: str, system: str = "", *, to_write: bool = False, said: bool = False
    ) -> tuple[int, ...]:
        """Ids of a prompt about an image, with the placeholder as the chat template writes it; as ``encode_prompt``."""
        return self._encode_plain(prompt, system, _ending(to_write, said))

    def _encode_plain(self, prompt: str, system: str, ending: Ending) -> tuple[int, ...]:
        def encode() -> tuple[int, ...]:
            text = self._render(prompt, ending, system=system, with_image=True)
            return self.tokenise(text, begins=self._begins.adds_to(text))

        return self.keep(("plain", prompt, system, ending), None, encode)

    @property
    def processor(self) -> Any:
        """The processor, with what keeps images in the place of its image processor."""
        return self._processor

    @property
    def gap(self) -> str:
        """White space that an answer begins with, and a chat does not end with."""
        return self._lead.gap

    def encode_completion(self, completion: str) -> tuple[int, ...]:
        """The completion's ids, tokenised on its own so that they are the same after any prompt.

        They are what the model's own tokenizer makes of it: whether it may be taken is for the caller to ask
        (``find_control_token``). Where that begins every text with a space, as SentencePiece does, and the template
        puts an answer on a line of its own, they are without it; where the template puts a space before an answer that
        is said, and the tokenizer none, they are with it.
        """
        return self.keep(("completion", completion), None, lambda: self._encode_completion(completion))

    def _encode_completion(self, completion: str) -> tuple[int, ...]:
        if not self._lead.text or not completion:
            return self.tokenise(completion)
        lead = self.tokenise(self._lead.text)
        both = self.tokenise(self._lead.text + self._lead.gap + completion)
        return both[len(lead) :] if both[: len(lead)] == lead else self.tokenise(completion)

    def encode_between(self, before: str, text: str, after: str) -> tuple[int, ...]:
        """Ids of a text between pieces of the chat template, as one: what stands beside may share a token with it."""
        key = "between", before, text, after
        return self.keep(key, None, lambda: self.tokenise(before + self.control.disarm(text) + after))

    def collate(self, rows: Sequence[EncodedRow], *, whole: bool = False) -> RowBatch:
        """Rows as one right-padded batch; every completion needs at least one token.

        Args:
            rows: Prompts with completions.
            whole: Feed the last completion token too, for those who want its hidden state.
        """
        fed = [row.prompt.ids + (row.completion if whole else row.completion[:-1]) for row in rows]
        width = max(len(ids) for ids in fed)
        text = {
            "input_ids": pad(fed, width, self.pad_id),
            "attention_mask": pad([(1,) * len(ids) for ids in fed], width, 0),
        }
        for key in rows[0].prompt.types:
            text[key] = self.lay_types(key, [row.prompt for row in rows], [len(ids) for ids in fed], width)
        text |= lay_along([row.prompt.vision for row in rows], [len(ids) for ids in fed], width)
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for index, row in enumerate(rows):
            start = len(row.prompt.ids) - 1
            mask[index, start : start + len(row.completion)] = True
        return RowBatch(text, mask)

    def lay_types(self, key: str, prompts: Sequence[EncodedPrompt], lengths: Sequence[int], width: int) -> Tensor:
        """Token types (R, width) of rows that begin with prompts and go on in plain text, padded on the right."""
        rows = [self.extend_types(prompt.types.get(key, ()), n) for prompt, n in zip(prompts, lengths, strict=True)]
        return pad(rows, width, 0)

    def extend_types(self, types: tuple[int, ...], length: int) -> tuple[int, ...]:
        """Token types of a row of so many tokens, which begins with these and goes on in plain text."""
        return types + (self._answer_type,) * (length - len(types))

    def process_images(self, prompts: Sequence[str], images: Sequence[Image]) -> dict[str, Tensor]:
        """The image tensors of a whole batch, for models that cannot take ready image features."""
        output = self._process(prompts, images, "answer", padding=True)
        return {key: value for key, value in output.items() if key not in TEXT_KEYS and key not in ALONG_KEYS}

    def image_shapes(self, prompt: str, image: Image) -> dict[str, tuple[int, ...]]:
        """The shapes of what is given beside the text for one prompt about an image."""
        output = self._process([prompt], [image], "answer")
        return {key: tuple(value.shape) for key, value in output.items() if key not in TEXT_KEYS}

    def name_untaken(self, prompt: str, image: Image) -> list[str]:
        """What the processor gives for one prompt about an image that is no tensor, and so does not reach the model."""
        output = self._call([self._render(prompt, "answer", with_image=True)], [image])
        return sorted(key for key, value in output.items() if not isinstance(value, Tensor))

    def encode_for_generation(self, prompts: Sequence[str], images: Sequence[Image] | None) -> dict[str, Tensor]:
        """Prompts padded on the left, with everything that ``generate`` needs."""
        output = self._process(prompts, images, "write", padding=True, padding_side="left")
        return {key: value for key, value in output.items() if key != "labels"}

    def collate_prompts(self, prompts: Sequence[EncodedPrompt]) -> dict[str, Tensor]:
        """Prompts padded on the left, to be continued by ``generate``; their images are for the caller to show."""
        width = max(len(prompt.ids) for prompt in prompts)
        text = {
            "input_ids": pad([prompt.ids for prompt in prompts], width, self.pad_id, left=True),
            "attention_mask": pad([(1,) * len(prompt.ids) for prompt in prompts], width, 0, left=True),
        }
        for key in prompts[0].types:
            text[key] = pad([prompt.types[key] for prompt in prompts], width, 0, left=True)
        return text

    def display_tokens(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Each token's own text; joined they are the completion.

        A character spread over several tokens goes to its last one, the earlier ones show nothing.
        """
        pieces: list[str] = []
        context = done = 0
        for end in range(1, len(ids) + 1):
            text = self._decode(ids[context:end])
            if text.endswith("\ufffd") and end < len(ids):
                pieces.append("")
                continue
            pieces.append(text[len(self._decode(ids[context:done])) :])
            # the last shown group stays as context: some tokenizers drop the space of a text's first token
            context, done = done, end
        return tuple(pieces)

    def decode_completion(self, ids: Sequence[int]) -> str:
        """The text of generated ids: tokens that steer a chat are left out, boxes and the marks of a thought are not.

        A thought that the chat template began has its beginning.
        """
        written = [token for token in ids if token not in self.control.silent]
        return self.thinking.opened + self._decode(written)

    def find_control_token(self, text: str) -> str | None:
        """The first token that steers a chat among what a text spells."""
        return self.control.find(text)

    def tokenise(self, text: str, *, begins: bool = False) -> tuple[int, ...]:
        """The ids of a text alone, or as one that ``begins`` what the model reads."""
        with self._reading:
            return tuple(int(token) for token in self.tokenizer(text, add_special_tokens=begins)["input_ids"])

    def _decode(self, ids: Sequence[int]) -> str:
        settings = {"clean_up_tokenization_spaces": False, "spaces_between_special_tokens": False}
        return str(self.tokenizer.decode(list(ids), **settings)) if ids else ""

    def _process(
        self, prompts: Sequence[str], images: Sequence[Image] | None, ending: Ending, system: str = "", **padding: Any
    ) -> dict[str, Tensor]:
        shown = images is not None
        texts = [self._render(prompt, ending, system=system, with_image=shown) for prompt in prompts]
        return self.process(texts, images, **padding)

    def process(self, texts: Sequence[str], images: Sequence[Shown] | None, **padding: Any) -> dict[str, Tensor]:
        """What the processor makes of chats as the template writes them, and of the images of each."""
        output = self._call(texts, images, **padding)
        return {key: value for key, value in output.items() if isinstance(value, Tensor) and key not in self._unread}

    def _call(self, texts: Sequence[str], images: Sequence[Shown] | None, **padding: Any) -> Any:
        options = {**self._begins.options(texts[0]), "return_tensors": "pt", **padding}
        with self._reading:
            return self._processor(images=self._nest(images), text=list(texts), **options)

    def _nest(self, images: Sequence[Shown] | None) -> list[Any] | None:
        """The images of each prompt, as the processor takes them: GOT-OCR2 reads a list in a list as pages."""
        if images is None or hasattr(self._processor, "multi_page"):
            return None if images is None else list(images)
        return [list(shown) if isinstance(shown, tuple) else [shown] for shown in images]

    def _render(self, prompt: str, ending: Ending, *, with_image: bool, system: str = "") -> str:
        return self.chats.write(
            ask(self.control.disarm(prompt), self.control.disarm(system)), ending, blind=not with_image
        )


def stop_ids(model: "PreTrainedModel", encoder: ChatEncoder) -> frozenset[int]:
    """The tokens at which the model ends its turn: its own, the tokenizer's and the chat template's."""
    listed = model.generation_config.eos_token_id
    own = listed if isinstance(listed, list | tuple) else [listed]
    return frozenset(
        int(token) for token in (*own, encoder.tokenizer.eos_token_id, encoder.turn_end) if token is not None
    )


def _ending(to_write: bool, said: bool) -> Ending:
    return "write" if to_write else "said" if said else "answer"


def _placeholder(processor: "ProcessorMixin", tokenizer: "PreTrainedTokenizerBase") -> int | None:
    token = getattr(processor, "image_token", None)
    found: int | None = tokenizer.convert_tokens_to_ids(str(token)) if token else None
    return found
