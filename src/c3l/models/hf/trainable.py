"""Tuning any image-text-to-text model of transformers: LoRA on its language model, one forward for all readings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from peft import LoraConfig
from PIL.Image import Image
from torch import Tensor, nn

from c3l.errors import BackendError, DataError
from c3l.models.hf.adapters import add_adapters
from c3l.models.hf.control import tell_control_token
from c3l.models.hf.encoded import EncodedRow
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.forcing import TeacherForcing
from c3l.models.hf.layout import image_token_id, keep_flex, make_paths, reading_packed
from c3l.models.hf.limits import count_positions, find_excess
from c3l.models.hf.logits import log_probs, pick
from c3l.models.hf.packing import pack
from c3l.models.hf.remembered import remember
from c3l.models.hf.saved import FolderWriter
from c3l.models.hf.sharding import find_pieces
from c3l.models.hf.vision import FeatureStore, VisionEncoder, move
from c3l.models.interface import Unfit
from c3l.models.notes import add_notes
from c3l.models.tunable import ForcedRow, Pieces, Readings
from c3l.records import Provenance
from c3l.settings.tuning import ContrastiveConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin

_TOWERS = ("vis", "audio", "tower", "vq")  # what the names of encoders hold, over the families of transformers


class TrainableHfModel(nn.Module):
    """A loaded model with adapters on the linear layers of its language model; all else is frozen.

    The vision tower and the connector stay as they are, so an image's features are computed once, without gradients,
    however many rows and epochs show it.
    """

    def __init__(
        self, model: "PreTrainedModel", processor: "ProcessorMixin", provenance: Provenance, config: ContrastiveConfig
    ) -> None:
        """Add fresh adapters to a loaded model.

        Args:
            model: An image-text-to-text model of transformers; it is changed.
            processor: Its processor, with a chat template.
            provenance: Comes back from the property of that name.
            config: Rank, scale and dropout of the adapters.

        Raises:
            BackendError: If it could not be saved, or adapters cannot be placed in it.
        """
        super().__init__()
        self._writer = FolderWriter(model, processor)
        self._encoder = ChatEncoder(processor, model)
        self._positions = count_positions(model)
        self._provenance = add_notes(provenance, self._encoder.notes)
        self._vision = VisionEncoder(model, self._encoder)
        self._features = FeatureStore(self._vision, model)
        forcing = TeacherForcing(model, self._encoder, self._vision)
        forcing.recall(remember(model, self._provenance))
        self._packs, self._side_by_side = forcing.packs(), forcing.ways().side_by_side
        self._takes_logits_to_keep = forcing.takes_logits_to_keep
        lora = LoraConfig(
            r=config.lora_r,
            lora_alpha=config.lora_alpha,
            lora_dropout=config.lora_dropout,
            target_modules=find_targets(model),
        )
        model.requires_grad_(False)
        self.lvlm = add_adapters(model, lora)
        if config.gradient_checkpointing:
            model.activation_checkpointing_enable()
            if self._packs:
                keep_flex(model)

    @property
    def provenance(self) -> Provenance:
        """Which weights, backend, dtype and versions the tuning starts from."""
        return self._provenance

    @property
    def hidden_size(self) -> int:
        """D, the size of a hidden state."""
        return int(self._base.config.get_text_config().hidden_size)

    @property
    def pieces(self) -> Pieces | None:
        """How it is to lie over the processes; None where each has all of it."""
        return find_pieces(self._base)

    @property
    def _base(self) -> Any:
        return self.lvlm.get_base_model()

    def train(self, mode: bool = True) -> Self:
        """Training mode for the language model alone: batch normalisation in a vision tower would drift."""
        super().train(False)
        self._base.get_decoder().train(mode)
        self.training = mode
        return self

    def prepare(self, image: Image) -> None:
        """Process an image that ``find_fault`` will soon look at: resizing lets other threads run."""
        if self._positions is not None:  # else it looks at texts alone
            self._encoder.prepare(image)

    def find_fault(self, rows: Sequence[ForcedRow]) -> Unfit | None:
        """Why the first of these rows that cannot be forced as it is cannot; None if all can."""
        with self._encoder.batch():
            return next((fault for row in rows if (fault := self._find_fault(row))), None)

    def _find_fault(self, row: ForcedRow) -> Unfit | None:
        if token := self._encoder.find_control_token(row.completion):
            return Unfit("control_token_in_text", tell_control_token(token))
        if self._positions is None:
            return None
        prompt = self._encoder.encode_prompt(row.prompt, row.image)
        return find_excess(len(prompt.ids), len(self._encoder.encode_completion(row.completion)), self._positions)

    def collate(self, rows: Sequence[ForcedRow]) -> dict[str, Any]:
        """Rows as tensors on the CPU; those about one image are packed into one tree where the family allows it.

        Returns:
            ``text``: what the language model is fed, (B, T, ...) each but for positions of a grid, (D, B, T): R rows,
            or a tree an image; ``real`` and ``in_completion``: (R, T) bool; ``targets``: (A,) the ids of all
            completions in a row; ``vision``: the processor's tensors, one dictionary a distinct image, or where the
            family takes no ready features one for all rows, or one a row where those are fed one by one; ``shown``:
            numbers of the images in the order in which the text shows them;
            of trees ``sight``, what their tokens see, and where these stand in the rows:
            ``places``, (R, T) int64, and ``predicts``, (A,) int64, both counted through the trees.

        Raises:
            DataError: If a completion has no token.
        """
        with self._encoder.batch():
            prompts = [self._encoder.encode_prompt(row.prompt, row.image) for row in rows]
            completions = [self._encoder.encode_completion(row.completion) for row in rows]
            if empty := [row.completion for row, ids in zip(rows, completions, strict=True) if not ids]:
                raise DataError(f"got {len(empty)} completions without a token, expected at least one in each")
            encoded = [EncodedRow(prompt, ids) for prompt, ids in zip(prompts, completions, strict=True)]
            images = {key: number for number, key in enumerate(dict.fromkeys(id(row.image) for row in rows))}
            numbers = [images[id(row.image)] for row in rows]
            batch = self._collate_trees(encoded, numbers) if self._packs else self._collate_rows(encoded, numbers)
            if self._vision.can_share:
                first = {id(row.image): prompt for row, prompt in reversed(list(zip(rows, prompts, strict=True)))}
                vision = [dict(first[key].vision) for key in images]
            else:
                pictures: list[Image] = [row.image for row in rows]
                asked = [row.prompt for row in rows]
                if self._side_by_side:
                    vision = [self._encoder.process_images(asked, pictures)]
                else:
                    pairs = zip(asked, pictures, strict=True)
                    vision = [self._encoder.process_images([prompt], [picture]) for prompt, picture in pairs]
        targets = torch.tensor([token for ids in completions for token in ids], dtype=torch.int64)
        return {**batch, "targets": targets, "vision": vision}

    def _collate_rows(self, rows: Sequence[EncodedRow], images: Sequence[int]) -> dict[str, Any]:
        batch = self._encoder.collate(rows, whole=True)
        return {
            "text": batch.text,
            "real": batch.text["attention_mask"].bool(),
            # the tokens of a completion stand one place after those that predict them
            "in_completion": batch.completion_mask.roll(1, dims=1),
            "shown": torch.tensor(images, dtype=torch.int64),
        }

    def _collate_trees(self, rows: Sequence[EncodedRow], images: Sequence[int]) -> dict[str, Any]:
        whole = self._collate_rows(rows, images)
        fed = [row.prompt.ids + row.completion for row in rows]
        paths = make_paths(self._base, [row.prompt for row in rows], fed, images)
        token = image_token_id(self._base)
        [(packed, numbers)] = pack(paths, images, token, self._encoder.pad_id, split=False)
        width = packed.ids.shape[1]
        # two rows about one image: their tokens lie in one tree, each row says where
        #   tree    <image> Is it ? Yes . No .     places of row 0    0 1 2 3 4 5
        #           0       1  2  3 4   5 6  7               of row 1    0 1 2 3 6 7
        places = torch.zeros(whole["real"].shape, dtype=torch.int64)  # (R, T), into the B * T tokens of all trees
        for number, (tree, path) in zip(numbers, packed.rows, strict=True):
            places[number, : len(path)] = torch.tensor(path) + tree * width
        return {
            "text": {"input_ids": packed.ids, "position_ids": packed.positions},
            "sight": packed.sight,
            "real": whole["real"],
            "in_completion": whole["in_completion"],
            "shown": torch.tensor(packed.images, dtype=torch.int64),
            "places": places,
            "predicts": places[whole["in_completion"].roll(-1, dims=1)],
        }

    def read(self, batch: Mapping[str, Any]) -> Readings:
        """One forward over a batch of ``collate``."""
        device = self._base.device
        in_completion = batch["in_completion"].to(device)
        states, logits = self._feed_trees(batch) if "places" in batch else self._feed_rows(batch, in_completion)
        each = pick(log_probs(logits), batch["targets"].to(device))  # (A,)
        lengths = in_completion.sum(dim=1)  # (R,)
        row_of_token = torch.arange(len(lengths), device=device).repeat_interleave(lengths)  # (A,)
        total = torch.zeros(len(lengths), dtype=each.dtype, device=device).index_add(0, row_of_token, each)
        return Readings(
            states=states,
            in_prompt=batch["real"].to(device) & ~in_completion,
            in_completion=in_completion,
            log_likelihood=total / lengths,
        )

    def _feed_rows(self, batch: Mapping[str, Any], in_completion: Tensor) -> tuple[Tensor, Tensor]:
        """Last hidden states (R, T, D), and the logits (A, V) that predict the completions."""
        text = {key: value.to(self._base.device) for key, value in batch["text"].items()}
        predicts = in_completion.roll(-1, dims=1)  # (R, T), each token before one of a completion
        if self._side_by_side:
            return self._feed(text, predicts, self._show(batch, range(len(predicts))))
        states, logits = [], []
        for row, length in enumerate(batch["real"].sum(dim=1).tolist()):
            alone = {key: value[row : row + 1, :length] for key, value in text.items()}
            found = self._feed(alone, predicts[row : row + 1, :length], self._show(batch, [row]))
            states.append(nn.functional.pad(found[0], (0, 0, 0, predicts.shape[1] - length)))  # (1, T, D)
            logits.append(found[1])
        return torch.cat(states), torch.cat(logits)

    def _feed(self, text: dict[str, Tensor], predicts: Tensor, images: dict[str, Any]) -> tuple[Tensor, Tensor]:
        keep = {"logits_to_keep": predicts} if self._takes_logits_to_keep else {}
        output = self.lvlm(**text, **images, **keep, use_cache=False, output_hidden_states=True)
        logits = output.logits if keep else output.logits[predicts]
        return output.hidden_states[-1], logits.reshape(-1, logits.shape[-1])

    def _feed_trees(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """As ``_feed_rows``, with the rows taken out of their trees; a token of several rows is computed once."""
        device = self._base.device
        text = {key: value.to(device) for key, value in batch["text"].items()}
        predicts, places = batch["predicts"].to(device), batch["places"].to(device)
        keep = torch.zeros(text["input_ids"].numel(), dtype=torch.bool, device=device)  # (B * T,)
        keep[predicts] = True
        with reading_packed(self._base, batch["sight"]) as mask:
            output = self.lvlm(
                **text,
                **self._show(batch, range(len(batch["shown"]))),
                attention_mask=mask,
                logits_to_keep=keep.view(text["input_ids"].shape),
                use_cache=False,
                output_hidden_states=True,
            )
        kept = output.logits.reshape(-1, output.logits.shape[-1])  # (kept tokens, V)
        rank = keep.cumsum(0) - 1  # (B * T,), where a kept token's logits are
        return output.hidden_states[-1].flatten(0, 1)[places], kept[rank[predicts]]  # (R, T, D), (A, V)

    def _show(self, batch: Mapping[str, Any], rows: Sequence[int]) -> dict[str, Any]:
        """Keyword arguments of ``forward`` that show rows, or all trees' text, their images."""
        if not self._vision.can_share:
            tensors = batch["vision"][0 if self._side_by_side else rows[0]]
            return {key: move(value, self._base) for key, value in tensors.items()}
        shown = batch["shown"].tolist()
        features = {place: self._features.encode(batch["vision"][place]) for place in {shown[row] for row in rows}}
        return self._vision.join([features[shown[row]] for row in rows])

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter as peft reads it."""
        self.lvlm.save_pretrained(str(folder))

    def save_merged(self, folder: Path) -> None:
        """Write an ordinary model folder with the adapter merged in; ends the tuning of this object."""
        self._writer.write(self.lvlm.merge_and_unload(), folder)


def is_tower(name: str) -> bool:
    """Whether a module of this name encodes images or sounds."""
    return any(part in name for part in _TOWERS)


def find_targets(model: "PreTrainedModel") -> list[str]:
    """Full names of the linear layers of the language model, the output layer not among them.

    Raises:
        BackendError: If no language model is found inside the model.
    """
    decoder = model.get_decoder()
    whole = {id(module): name for name, module in model.named_modules()}
    prefix = whole.get(id(decoder))
    if not prefix:
        raise BackendError(f"found no language model inside {type(model).__name__}: c3l cannot place adapters in it")
    linear = (name for name, module in decoder.named_modules() if isinstance(module, nn.Linear))
    # a decoder that is all of the model, as Chameleon's, has its tower inside
    names = [f"{prefix}.{name}" for name in linear if not is_tower(name.partition(".")[0])]
    if not names:
        raise BackendError(f"the language model of {type(model).__name__} has no linear layer to adapt")
    return names
