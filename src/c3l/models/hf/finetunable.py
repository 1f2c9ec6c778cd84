"""Any image-text-to-text model of transformers, prepared to be taught conversations: low-rank, or all its decoder."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig
from PIL.Image import Image
from torch import Tensor

from c3l.errors import BackendError
from c3l.models.hf.adapters import add_adapters
from c3l.models.hf.along import lay_along
from c3l.models.hf.company import Company, read_taught
from c3l.models.hf.connectors import find_connectors, find_towers, shorten, watch
from c3l.models.hf.control import tell_control_token
from c3l.models.hf.conversations import ConversationEncoder, EncodedConversation
from c3l.models.hf.earlier import find_obstacle
from c3l.models.hf.encoded import pad
from c3l.models.hf.encoding import ChatEncoder, stop_ids
from c3l.models.hf.limits import count_positions, find_excess
from c3l.models.hf.logits import pick
from c3l.models.hf.rival import find_gap
from c3l.models.hf.saved import FolderWriter
from c3l.models.hf.sharding import find_pieces, is_sharded, touch
from c3l.models.hf.trainable import find_targets
from c3l.models.hf.trials import PROMPTS, draw, has_bare_chats
from c3l.models.interface import Unfit
from c3l.models.notes import add_notes
from c3l.models.tunable import IGNORE_INDEX, Conversation, Pieces
from c3l.records import Provenance
from c3l.settings.tuning import FinetuningConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


class FinetunableHfModel:
    """A loaded model whose language model, and connector if wanted, can learn; the vision tower stays as it is.

    Whatever learns is kept in float32: in bfloat16 most steps of 2e-5 are smaller than the gap to the next number, and
    the weights would not move. The trainer computes in the model's dtype by autocast.
    """

    def __init__(
        self, model: "PreTrainedModel", processor: "ProcessorMixin", provenance: Provenance, config: FinetuningConfig
    ) -> None:
        """Say what of a loaded model is to learn.

        Args:
            model: An image-text-to-text model of transformers; it is changed.
            processor: Its processor, with a chat template.
            provenance: Comes back from the property of that name.
            config: Method, adapters and length.

        Raises:
            BackendError: If it could not be saved, or the connector is to learn and does not stand apart.
        """
        self.processor = processor
        self._writer = FolderWriter(model, processor)
        self._model, self._dtype = model, model.dtype
        self._dtypes = {name: tensor.dtype for name, tensor in _tensors(model)}
        self._encoder = ChatEncoder(processor, model)
        self._conversations = ConversationEncoder(self._encoder, stop_ids(model, self._encoder))
        self._positions = count_positions(model)
        self._longest = min(config.max_length, self._positions or config.max_length)
        self.provenance = add_notes(provenance, [*self._encoder.notes, self._tell_length(config)])
        if config.taught_share is not None:
            _check_gains(model, self._encoder)
        between = find_connectors(model)
        with watch(model, between) as seen:
            self._company = Company(model, self.collate, self._encoder)
        self._connectors = [name for name in between if name in seen]
        if config.tune_connector and not self._connectors:
            raise BackendError(
                f"{type(model).__name__} has no connector that stands apart from its tower: "
                "set finetuning.tune_connector=false"
            )
        learns_too = [] if config.tune_connector is False else self._connectors
        model.requires_grad_(False)
        for part in find_towers(model):
            _keep_as_it_is(part)
        if config.gradient_checkpointing:
            model.activation_checkpointing_enable()
        if config.method == "full":
            for part in (model.get_decoder(), model.get_output_embeddings(), *map(model.get_submodule, learns_too)):
                part.requires_grad_(True)
            self.module: Any = model
        else:
            self.module = _adapt(model, config, learns_too)
        touch(model, learns_too)
        for parameter in self.module.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    @cached_property
    def _no_turns(self) -> str:
        """Why conversations of several questions are not taught; empty if they are."""
        return find_obstacle(self._encoder, self._conversations)

    def fits_batches(self, mixed: bool) -> bool:
        """Whether conversations as a batch give what each gives by itself; ``mixed`` where only some have an image."""
        return self._company.fits(mixed)

    def find_gap(self, read: Callable[[Mapping[str, Any]], Tensor]) -> str:
        """What speaks against another way of computing what is taught; empty if its numbers are the model's own."""
        trial = Conversation(draw(64, 64), ((PROMPTS[0], "It is, as anybody can see who looks at it for a while."),))
        batch = {key: value.to(self._model.device) for key, value in self.collate([trial]).items()}
        if not (batch["labels"] != IGNORE_INDEX).any():
            return "cannot be tried out: finetuning.max_length leaves no room for an answer about a small image"
        return find_gap(self._model, batch, read, self._dtype)

    @property
    def pieces(self) -> Pieces | None:
        """How it is to lie over the processes; None where each has all of it."""
        return find_pieces(self._model)

    @property
    def takes_system(self) -> bool:
        """Whether the chat template shows a system prompt."""
        return self._encoder.takes_system

    def batch(self) -> AbstractContextManager[None]:
        """A block in which an image is processed once, and a conversation encoded once."""
        return self._encoder.batch()

    def prepare(self, image: Image) -> None:
        """Process an image that will be looked at soon: resizing lets other threads run."""
        self._encoder.prepare(image)

    def find_fault(self, conversation: Conversation) -> Unfit | None:
        """Why a conversation cannot be taught as it is, if it cannot."""
        with self._encoder.batch():
            for text in (conversation.system, *(text for turn in conversation.turns for text in turn)):
                if token := self._encoder.find_control_token(text):
                    return Unfit("control_token_in_text", tell_control_token(token))
            if len(conversation.turns) > 1 and self._no_turns:
                return Unfit("several_turns", f"a second question cannot be asked: {self._no_turns}")
            if self.count_taught(conversation)[0]:
                return None
            prompt = len(self._encode(conversation).prompt.ids)
            if self._positions is not None and prompt >= self._positions:
                return find_excess(prompt, 1, self._positions)
            told = f"image and question are {prompt} tokens"
            if prompt < self._longest:
                told += f", and what is taught begins after {self._longest} of the conversation"
            detail = f"{told}, finetuning.max_length is {self._longest}: none is taught"
            return Unfit("no_supervised_token", detail)

    def count_taught(self, conversation: Conversation) -> tuple[int, int]:
        """How many tokens of a conversation are taught, and how many are not since it is cut to the longest length."""
        whole = self._encode(conversation)
        taught = sum(whole.cut(self._longest).taught) if len(whole.prompt.ids) < self._longest else 0
        return taught, sum(whole.taught) - taught

    def measure_gains(self, conversation: Conversation) -> tuple[float | None, ...]:
        """How much likelier the image makes each taught token, before anything is learned.

        Returns:
            log p - log q, nats, q being the same conversation without its image; None for a token that is not
            measured: it ends a turn, or there is no image.

        Raises:
            BackendError: If the model has no such conversations, is sharded, or gives what is no number.
        """
        seen = self._encode(conversation).cut(self._longest)
        ends = [end for end, taught in zip(seen.ends, seen.taught, strict=True) if taught]
        if conversation.image is None:
            return (None,) * len(ends)
        with_image, without = map(self._read, (conversation, replace(conversation, image=None)))
        # each is cut at the same length: there is mostly more room without an image, and never another token before
        both = min(len(with_image), len(without))
        gains: list[float | None] = [*(with_image[:both] - without[:both]).tolist(), *[None] * (len(ends) - both)]
        if any(gain is not None and math.isnan(gain) for gain in gains):
            raise BackendError(
                f"{type(self._model).__name__} gives log-probabilities that are no numbers for "
                f"{conversation.turns[0][0][:40]!r}: set model.dtype=float32, or finetuning.taught_share=null"
            )
        return tuple(None if end else gain for end, gain in zip(ends, gains, strict=True))

    @torch.no_grad()
    def _read(self, conversation: Conversation) -> Tensor:
        """The log-probability of each taught token (N,), nats: in the dtype of the tuning, without its dropout."""
        device = self._model.device
        batch = {key: value.to(device) for key, value in self.collate([conversation]).items()}
        wanted = batch["labels"][0]
        self._model.eval()  # the trainer sets it back
        narrow = torch.finfo(self._dtype).bits == 16
        with torch.autocast(device.type, self._dtype if narrow else None, enabled=narrow):
            [found] = read_taught(self._model, batch)
        return pick(found, wanted[wanted != IGNORE_INDEX])

    def collate(self, conversations: Sequence[Conversation]) -> dict[str, Any]:
        """Conversations as one right-padded batch of the model's own inputs.

        Returns:
            ``input_ids``, ``attention_mask``, ``labels`` and the token types that the processor uses, (B, T) int64;
            what goes along the text, (B, T, ...); the processor's tensors of all images, if there is one.
        """
        with self._encoder.batch():
            encoded = [self._encode(one).cut(self._longest) for one in conversations]
            width = max(len(one.prompt.ids) + len(one.ids) for one in encoded)
            batch: dict[str, Any] = {
                "input_ids": pad([(*one.prompt.ids, *one.ids) for one in encoded], width, self._encoder.pad_id),
                "attention_mask": pad([(1,) * (len(one.prompt.ids) + len(one.ids)) for one in encoded], width, 0),
                "labels": pad([_labels(one) for one in encoded], width, IGNORE_INDEX),
            }
            prompts = [one.prompt for one in encoded]
            lengths = [len(one.prompt.ids) + len(one.ids) for one in encoded]
            for key in {key: None for prompt in prompts for key in prompt.types}:
                batch[key] = self._encoder.lay_types(key, prompts, lengths, width)
            batch |= lay_along([prompt.vision for prompt in prompts], lengths, width)
            shown = [(one.turns[0][0], one.image) for one in conversations if one.image is not None]
            if shown:
                asked, pictures = zip(*shown, strict=True)
                batch |= self._encoder.process_images(asked, pictures)
        return batch

    def is_connector(self, name: str) -> bool:
        """Whether a parameter of ``module`` belongs to what connects vision tower and language model."""
        return any(f"{connector}." in name for connector in self._connectors)

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter as peft reads it; of full tuning there is none."""
        if hasattr(self.module, "peft_config"):
            self.module.save_pretrained(str(folder))

    def save_merged(self, folder: Path) -> None:
        """Write an ordinary model folder; ends the tuning of this object."""
        whole = self.module.merge_and_unload() if hasattr(self.module, "peft_config") else self.module
        for name, tensor in _tensors(whole):  # some families keep a few in float32, whatever the rest is
            tensor.data = tensor.data.to(self._dtypes.get(name, tensor.dtype))
        self._writer.write(whole, folder)

    def _tell_length(self, config: FinetuningConfig) -> str:
        if self._longest == config.max_length:
            return ""
        return f"finetuning.max_length is {config.max_length}: cut at {self._positions}, the model's positions"

    def _encode(self, conversation: Conversation) -> EncodedConversation:
        said = conversation.turns, conversation.image, conversation.system, conversation.untaught
        return self._conversations.encode(*said).skip(conversation.skipped)


def _tensors(model: Any) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _check_gains(model: "PreTrainedModel", encoder: ChatEncoder) -> None:
    """Look whether tokens can be measured with and without the image.

    Raises:
        BackendError: If not.
    """
    name, remedy = type(model).__name__, "set finetuning.taught_share=null"
    if is_sharded():
        raise BackendError(
            f"got a launch with FSDP, in which {name} lies on no card before it trains, and its tokens cannot be "
            f"weighed: launch it without, or {remedy}"
        )
    if not has_bare_chats(encoder):
        raise BackendError(f"{name} has no chats without an image to weigh its tokens by: {remedy}")


def _keep_as_it_is(part: Any) -> None:
    """Evaluation mode whatever a trainer says: in training mode batch normalisation would drift."""
    part.eval()
    part.train = lambda mode=True: part


def _adapt(model: "PreTrainedModel", config: FinetuningConfig, learns_too: Sequence[str]) -> Any:
    names = [name for name, _ in model.named_modules()]
    lora = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=find_targets(model),
        modules_to_save=[shorten(name, names) for name in learns_too] or None,
    )
    try:
        return add_adapters(model, lora)
    except ValueError as error:  # experts that lie in one tensor
        if not config.lora_dropout or "lora_dropout" not in str(error):
            raise
        raise BackendError(
            f"{type(model).__name__} has experts whose adapters take no dropout: set finetuning.lora_dropout=0"
        ) from None


def _labels(encoded: EncodedConversation) -> tuple[int, ...]:
    told = (IGNORE_INDEX,) * len(encoded.prompt.ids)
    said = zip(encoded.ids, encoded.taught, strict=True)
    return (*told, *(token if taught else IGNORE_INDEX for token, taught in said))
