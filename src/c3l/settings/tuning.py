"""The settings of both tunings: contrastive, and on instructions."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from c3l.settings.base import LISTED, Settings

_NO = BeforeValidator(lambda value: "no" if value is False else value)  # YAML's bare `no` is false


class TrainerSettings(Settings):
    """What both tunings say to the trainer."""

    model_config = ConfigDict(allow_inf_nan=False)
    no_result = frozenset({"save_steps", "logging_steps", "report_to", "gradient_checkpointing"})

    epochs: float = Field(1.0, gt=0, description="Passes over the data; LLaVA-1.5")
    max_steps: int | None = Field(None, ge=1, description="Optimiser steps instead of epochs")
    warmup_share: float = Field(0.03, ge=0, lt=1, description="Share of the steps; then a cosine to 0; LLaVA-1.5")
    max_grad_norm: float = Field(
        1.0, gt=0, description="A longer gradient is cut to this length; transformers' default"
    )
    batch_size: int = Field(4, ge=1, description="Rows a device and forward; choice")
    gradient_accumulation: int = Field(1, ge=1, description="Batches a step; choice")
    mixed_precision: Annotated[Literal["no", "bf16", "fp16"], _NO] = Field(
        "no", description="Autocast; no: in the model's dtype. What learns is float32 in any case"
    )
    gradient_checkpointing: bool = Field(False, description="Less memory, more time")
    save_steps: int = Field(50, ge=1, description="Steps between checkpoints: what is lost at most by a kill")
    logging_steps: int = Field(1, ge=1, description="Steps between lines of the log")
    report_to: Annotated[tuple[str, ...], LISTED] = Field(
        (), description="Trackers of transformers: tensorboard, wandb, ..."
    )


class ContrastiveConfig(TrainerSettings):
    """How the LVLM is tuned towards the positives and away from the negatives."""

    similarity: Literal["hidden", "likelihood"] = Field(
        "likelihood",
        description="Cosine of pooled hidden states (CLAPS), or log-likelihood a token of the pair's text "
        "(studies/LOG.md)",
    )
    pooling: Literal["mean", "last"] = Field(
        "mean", description="hidden: over a text's tokens, or its last one; CLAPS: mean"
    )
    projection: Literal["linear_relu", "none"] = Field(
        "linear_relu", description="hidden: a layer in front of the comparison, shared by all; CLAPS"
    )
    temperature: float | None = Field(
        None,
        gt=0,
        description="Similarities are divided by it; null: 0.1 for hidden, CLAPS, 1 for likelihood, choice",
    )
    contrastive_weight: float = Field(1.0, ge=0, description="Of InfoNCE; 0 leaves plain likelihood training; CLAPS")
    likelihood_weight: float = Field(1.0, ge=0, description="Of the positive's negative log-likelihood; CLAPS")
    negatives: Literal["image", "batch"] = Field(
        "image", description="The image's own pairs (paper), or those of the batch's other images too"
    )
    epochs: float = Field(1.0, gt=0, description="Passes over the groups; choice")
    learning_rate: float = Field(1e-4, gt=0, description="Of the LoRA weights; choice")
    projection_learning_rate: float = Field(
        1e-3, gt=0, description="hidden: of the projection, which starts random; choice"
    )
    batch_size: int = Field(4, ge=1, description="Groups (images) a device and step; choice")
    lora_r: int = Field(16, ge=1, description="Rank; choice")
    lora_alpha: int = Field(32, ge=1, description="The update is alpha / r times B A; choice")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="In front of the LoRA weights; choice")
    held_out: float = Field(
        0.1, ge=0, lt=1, description="Share of the groups that only measure; at least 1 of 5; choice"
    )

    @property
    def resolved_temperature(self) -> float:
        """The temperature that is set, or that of the similarity."""
        if self.temperature is not None:
            return self.temperature
        return 0.1 if self.similarity == "hidden" else 1.0

    @model_validator(mode="after")
    def _has_a_loss(self) -> Self:
        if self.contrastive_weight == 0 and self.likelihood_weight == 0:
            raise ValueError("contrastive_weight and likelihood_weight are both 0: nothing would be trained")
        if self.negatives == "batch" and self.similarity == "likelihood":
            raise ValueError("negatives: batch compares hidden states; set similarity: hidden, or negatives: image")
        if self.negatives == "batch" and self.batch_size == 1:
            raise ValueError("negatives: batch needs other images in the batch; set batch_size: 2 or more")
        return self


class FinetuningConfig(TrainerSettings):
    """How an LVLM is instruction-tuned on the data; the defaults are LLaVA-1.5's LoRA recipe where it has a value."""

    no_result = TrainerSettings.no_result | {"enabled"}

    enabled: bool = Field(False, description="Whether `c3l run` ends with it")
    method: Literal["lora", "full"] = Field(
        "lora", description="Low-rank, or all of the language model; never the tower"
    )
    tune_connector: bool | None = Field(
        None, description="Train what connects tower and language model too (LLaVA-1.5); null: where it stands apart"
    )
    learning_rate: float | None = Field(None, gt=0, description="null: 2e-4 for lora, 2e-5 for full; LLaVA-1.5")
    connector_learning_rate: float = Field(2e-5, gt=0, description="LLaVA-1.5")
    weight_decay: float = Field(0.0, ge=0, description="LLaVA-1.5")
    batch_size: int = Field(4, ge=1, description="Conversations a device and forward; choice")
    gradient_accumulation: int = Field(32, ge=1, description="Batches a step; 4 x 32 = 128 a step; LLaVA-1.5")
    max_length: int = Field(2048, ge=16, description="Tokens of a conversation; the rest is cut off; LLaVA-1.5")
    taught_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Of a conversation about an image, teach only this share of the answers' tokens: those that the "
        "image makes likeliest, and the ends of turns; after VIG (arXiv 2602.17186); null teaches all",
    )
    lora_r: int = Field(128, ge=1, description="LLaVA-1.5")
    lora_alpha: int = Field(256, ge=1, description="LLaVA-1.5")
    lora_dropout: float = Field(0.05, ge=0, lt=1, description="LLaVA-1.5")
