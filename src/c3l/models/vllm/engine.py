"""vLLM's engine: token ids and images in, log-probabilities and token ids out; nothing here knows a chat.

vLLM reads each image by the model's own processor once more, so that two things could differ from what transformers
is shown: the ids that a placeholder becomes, which are compared at every row, and the pixels, compared at loading.
"""

import math
import os
import re
import weakref
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image

from c3l.errors import BackendError, ConfigError, OutOfMemoryError, one_line
from c3l.models.interface import Sampling
from c3l.settings.schema import ModelConfig

# For this process alone, and each can be set otherwise: a child would keep a card's memory until it ends; standard
# output is for results; and nothing is reported to anybody.
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_NO_USAGE_STATS": "1",
}
_MEMORY = re.compile(r"`?(?:--)?gpu[-_]memory[-_]utilization`?")  # what it calls the setting
_TRY_FOLDER = "take the folder itself, without vllm:, and transformers runs it"


@dataclass(frozen=True, slots=True)
class EngineRow:
    """What the engine is shown.

    Attributes:
        ids: The prompt's ids, image tokens already expanded, as transformers is shown them.
        plain: The same with one placeholder for the image, as vLLM expands it; ``ids`` where there is none.
        image: What is shown.
        completion: Token ids that are teacher-forced after the prompt; none for one that is to be continued.
    """

    ids: tuple[int, ...]
    plain: tuple[int, ...]
    image: Image | None
    completion: tuple[int, ...] = ()


# With any of its engines vLLM ends what all of a process share, and another one could compute no longer. So those that
# nobody uses stay as long as another one is used.
_LIVING: "weakref.WeakSet[Engine]" = weakref.WeakSet()
_LEFT: list[Any] = []


class Engine:
    """A model that vLLM has loaded."""

    def __init__(
        self,
        config: ModelConfig,
        source: tuple[str, str],
        dtype: str,
        pillow_images: AbstractContextManager[None],
    ) -> None:
        """Load it; nothing else of this process may take the same card's memory meanwhile.

        Args:
            config: Name for messages, device, share of the memory, whether code of its own may run.
            source: Folder or hub id, and the revision.
            dtype: As torch names it.
            pillow_images: Inside, processors prepare images by Pillow, as transformers' are for c3l.

        Raises:
            ConfigError: If vLLM is not installed.
            BackendError: If it cannot load the model.
        """
        self._vllm = _import()
        from vllm.platforms import current_platform

        self.device = str(current_platform.device_type)
        if config.device not in ("auto", self.device):
            raise BackendError(
                f"got model.device={config.device}, but this vLLM is built for {self.device}: leave it at auto, and "
                "choose a card by CUDA_VISIBLE_DEVICES"
            )
        location, revision = source
        try:
            with pillow_images:
                self._llm: Any = self._vllm.LLM(
                    location,
                    revision=revision,
                    dtype=dtype,
                    trust_remote_code=config.trust_remote_code,
                    gpu_memory_utilization=config.memory_share,
                    max_model_len=-1,  # as long as its positions and the memory allow
                    generation_config="vllm",  # a folder's own may ask for top_k; `Sampling` does not
                    limit_mm_per_prompt={"image": 1, "video": 0, "audio": 0},
                    mm_device_do_normalize=False,  # the processor does, so that pixels can be compared
                    use_tqdm_on_load=False,
                )
        except Exception as error:  # as with transformers, there is no end to what a strange folder makes it raise
            why = _MEMORY.sub("model.memory_share", one_line(error, 500)).rstrip(".")
            raise BackendError(
                f"vLLM {self.version} cannot load the model {config.name}: {why}; {_TRY_FOLDER}"
            ) from None
        _LIVING.add(self)
        self._end = weakref.finalize(self, _let_go, self._llm)

    def close(self) -> None:
        """Give the device's memory back; nothing can be asked any more."""
        _LIVING.discard(self)
        self._end()
        self._llm = None

    @property
    def version(self) -> str:
        """Of vLLM."""
        return str(self._vllm.__version__)

    @property
    def positions(self) -> int:
        """The longest row, in tokens, prompt and completion together."""
        return int(self._llm.llm_engine.vllm_config.model_config.max_model_len)

    def read_pixels(self, row: EngineRow) -> Mapping[str, Any]:
        """The tensors that a row's image becomes, under the processor's names.

        Raises:
            BackendError: If the ids around it are not those of the row.
        """
        [read] = self._llm.llm_engine.renderer.render_cmpl([_show(row)], skip_mm_cache=True)
        _compare_ids(row, read["prompt_token_ids"])
        return dict(read["mm_kwargs"]["image"][0].get_data())

    def force(self, rows: Sequence[EngineRow]) -> list[tuple[float, ...]]:
        """Log-probabilities of the completions' tokens, nats, a row each, in order.

        Raises:
            BackendError: If vLLM shows the model other ids than those of a row.
            OutOfMemoryError: If the device has no room left.
        """
        # prompt_logprobs=0: of the prompt's own tokens alone; one token has to be written, and is not looked at
        settings = self._vllm.SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        forced = []
        for row, output in zip(rows, self._ask(rows, [settings] * len(rows)), strict=True):
            places = output.prompt_logprobs[len(row.ids) :]
            forced.append(tuple(place[token].logprob for place, token in zip(places, row.completion, strict=True)))
        return forced

    def write(
        self,
        rows: Sequence[EngineRow],
        seeds: Sequence[int],
        rooms: Sequence[int],
        sampling: Sampling,
        stops: Sequence[int],
    ) -> list[tuple[tuple[int, ...], int | None]]:
        """How prompts go on: ids up to and with one that stops, and the place of the first that was no choice.

        Args:
            rows: Prompts.
            seeds: Of each.
            rooms: How many tokens each may become.
            sampling: How tokens are drawn.
            stops: The tokens that end a text.
        """
        settings = [
            self._vllm.SamplingParams(
                max_tokens=room,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=seed % 2**63,
                stop_token_ids=list(stops),
                logprobs=0,  # of the drawn token alone: no number where the logits were none
                detokenize=False,
            )
            for seed, room in zip(seeds, rooms, strict=True)
        ]
        return [_read_written(output.outputs[0]) for output in self._ask(rows, settings)]

    def _ask(self, rows: Sequence[EngineRow], settings: Sequence[Any]) -> list[Any]:
        try:
            outputs = self._llm.generate([_show(row) for row in rows], list(settings), use_tqdm=False) if rows else []
        except (torch.OutOfMemoryError, MemoryError) as error:
            engine = self._llm.llm_engine  # what was asked is still under way, and would come back with the next rows
            engine.abort_request(list(engine.output_processor.request_states), internal=True)
            raise OutOfMemoryError(f"{one_line(error)}; set model.memory_share lower") from None
        for row, output in zip(rows, outputs, strict=True):
            _compare_ids(row, output.prompt_token_ids)
        return list(outputs)


def _import() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except ImportError as error:
        raise ConfigError(
            f"a model by vLLM needs the vllm package ({one_line(error)}), in an environment that docs/backends.md "
            f"tells how to make; or {_TRY_FOLDER}"
        ) from None
    return vllm


def _let_go(llm: Any) -> None:
    """Give the device's memory back at once, or with the last of several engines."""
    _LEFT.append(llm)
    while _LEFT and not _LIVING:
        _LEFT.pop().llm_engine.engine_core.shutdown()


def _show(row: EngineRow) -> dict[str, Any]:
    shown: dict[str, Any] = {"prompt_token_ids": [*row.plain, *row.completion]}
    return shown if row.image is None else {**shown, "multi_modal_data": {"image": row.image}}


def _compare_ids(row: EngineRow, found: Sequence[int]) -> None:
    expected = [*row.ids, *row.completion]
    if list(found) != expected:
        raise BackendError(
            f"vLLM makes {len(found)} tokens of a prompt of which transformers makes {len(expected)}, or others: its "
            f"numbers would be of another prompt; {_TRY_FOLDER}"
        )


def _read_written(output: Any) -> tuple[tuple[int, ...], int | None]:
    ids = tuple(output.token_ids)
    drawn = (place[token].logprob for place, token in zip(output.logprobs, ids, strict=True))
    broken = next((place for place, logprob in enumerate(drawn) if not math.isfinite(logprob)), None)
    return ids, broken
