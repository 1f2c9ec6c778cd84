"""The contrastive loss around an LVLM: what is compared with what, and what it costs."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from c3l.method.losses import (
    add_batch_negatives,
    contrastive_accuracy,
    cosine_similarities,
    info_nce,
    last_pool,
    mean_pool,
)
from c3l.models.tunable import Readings, TrainableModel
from c3l.settings.tuning import ContrastiveConfig


class ContrastiveModel(nn.Module):
    """An LVLM with adapters, the projection that its representations are compared in, and the loss."""

    def __init__(self, lvlm: TrainableModel, config: ContrastiveConfig) -> None:
        super().__init__()
        self.lvlm = lvlm
        self.recipe = config  # `config` is where Trainer looks for that of a model of transformers
        self.projection: nn.Module = nn.Identity()
        if config.projection == "linear_relu" and config.similarity == "hidden":
            self.projection = nn.Sequential(nn.Linear(lvlm.hidden_size, lvlm.hidden_size), nn.ReLU())

    def forward(self, rows: Mapping[str, Any], candidates: Tensor, valid: Tensor) -> dict[str, Tensor]:
        """The loss of a batch of ``GroupCollator``, and its parts.

        Returns:
            Scalars: ``loss``, nats; ``contrastive`` (InfoNCE) and ``likelihood`` (of the positives: negative, mean
            over tokens, then over groups), nats; ``accuracy``, in 0..1; ``negatives_likelihood``, nats.
        """
        config = self.recipe
        readings = self.lvlm.read(rows)
        similarities, allowed = self.compare(readings, candidates, valid)
        contrastive = info_nce(similarities, allowed, config.resolved_temperature)
        nll = -readings.log_likelihood[candidates]
        likelihood = nll[:, 0].mean()
        loss = config.contrastive_weight * contrastive + config.likelihood_weight * likelihood
        return {
            "loss": loss,
            "contrastive": contrastive.detach(),
            "likelihood": likelihood.detach(),
            "accuracy": contrastive_accuracy(similarities.detach(), allowed),
            "negatives_likelihood": _mean_of_groups(nll[:, 1:].detach(), valid[:, 1:]),
        }

    def compare(self, readings: Readings, candidates: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Similarity of every candidate with its anchor and which of them count, both (G, C) or wider."""
        if self.recipe.similarity == "likelihood":
            return readings.log_likelihood[candidates], valid
        pool = mean_pool if self.recipe.pooling == "mean" else last_pool
        # the prompt comes before the completion, so the positive's own row holds the anchor
        anchored = candidates[:, 0]
        anchors = self._project(pool(readings.states[anchored], readings.in_prompt[anchored]))
        each = self._project(pool(readings.states, readings.in_completion))
        similarities = cosine_similarities(anchors, each[candidates])
        if self.recipe.negatives == "batch":
            return add_batch_negatives(similarities, valid, anchors, each[candidates])
        return similarities, valid

    def _project(self, pooled: Tensor) -> Tensor:
        """Pooled states (N, D) where they are compared, (N, D) of the same dtype.

        In pieces the projection computes in 16 bits with mixed precision, and no autocast goes before it.
        """
        weight = next(self.projection.parameters(), pooled)
        projected: Tensor = self.projection(pooled.to(weight.dtype))
        return projected.to(pooled.dtype)


def _mean_of_groups(values: Tensor, valid: Tensor) -> Tensor:
    """The mean over groups of each group's mean over its valid entries; every group has one."""
    return ((values * valid).sum(dim=1) / valid.sum(dim=1)).mean()
