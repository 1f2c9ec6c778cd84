"""The settings of a run: one small model a stage, as ``load`` reads them.

Every number that changes a result names its source: *paper* (arXiv 2405.12752), *CLAPS* (Lee et al., ICLR 2021, whose
contrastive step the paper's wording follows), *LLaVA-1.5*, *ours* (measured in docs/experiments.md) or *choice*.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from c3l.records import MAX_ROUNDS, Form, NoImageMode
from c3l.settings.base import LISTED, Settings
from c3l.settings.columns import ColumnsConfig
from c3l.settings.evaluation import EvaluationConfig
from c3l.settings.roots import HomePath, ImageRoot
from c3l.settings.tuning import ContrastiveConfig, FinetuningConfig

ExportFormat = Literal[
    "llava",
    "llava_jsonl",
    "llamafactory",
    "swift",
    "trl",
    "finevision",
    "webdataset",
    "data_juicer",
    "ids",
    "trl_preference",
    "llamafactory_preference",
    "swift_preference",
    "trl_whole_pair",
    "llamafactory_whole_pair",
    "swift_whole_pair",
]
PreferenceKind = Literal["preference", "whole_pair"]
"""Two answers to one question, or two question-answer pairs as whole replies: how the formats' names end."""
FilterRule = Literal[
    "top_fraction", "top_k", "threshold", "band", "best_per_image", "random", "longest", "lowest", "all"
]


SERVED = "openai:"  # before the name of a model behind a server
VLLM = "vllm:"  # before the folder or hub id of one that vLLM runs in this process
Backend = Literal["hf", "openai", "vllm"]
FollowLinks = Literal["inside", "all", "none"]
Tracker = Literal["tensorboard", "wandb", "trackio"]
NearDuplicates = Literal["ignore", "count", "drop"]


class ModelConfig(Settings):
    """Which LVLM, and in what arithmetic."""

    # the weights' hash says which; of a served one its name and the size of its images stand for it
    no_result = frozenset(
        {"name", "revision", "device", "trust_remote_code", "endpoint", "concurrency", "image_side", "memory_share"}
    )

    name: str = Field(
        "builtin",
        min_length=1,
        description="`builtin`, a folder, or a hub id; `openai:NAME` for a served one, `vllm:NAME` for a folder or hub "
        "id that vLLM runs, docs/backends.md",
    )
    revision: str | None = Field(None, description="Revision of a hub id; pin it for a run you mean to repeat")
    backend: Backend = Field(
        "hf",
        description="By the name: hf: transformers runs it; openai: a server does, it writes and cannot score; vllm: "
        "vLLM does in this process, it writes and scores and is not tuned",
    )
    endpoint: str | None = Field(
        None, description="openai: the server, such as http://localhost:8000/v1; the key is OPENAI_API_KEY"
    )
    concurrency: int = Field(8, ge=1, description="openai: requests at once; changes speed only")
    image_side: int | None = Field(
        1024,
        ge=16,
        description="openai: images with a longer side are sent smaller; null sends them as they are; choice",
    )
    memory_share: float = Field(
        0.8, gt=0, le=1, description="vllm: share of the device's memory that it takes; changes speed only; choice"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto = bfloat16 where the device computes it fast, else float32; float32 for `builtin`"
    )
    device: str = Field("auto", description="auto = cuda where there is one, else cpu")
    attn_implementation: str | None = Field(
        None,
        description="Such as sdpa or eager; flex_attention: sdpa, but rows that share what they begin with are read by "
        "FlexAttention's block masks, for cards, not measured yet; null leaves the choice to transformers",
    )
    trust_remote_code: bool = Field(False, description="Run code that a model folder brings along")

    @model_validator(mode="before")
    @classmethod
    def _name_says_the_backend(cls, given: Any) -> Any:
        if isinstance(given, dict) and "name" in given:
            return {**given, "backend": find_backend(str(given["name"]))}
        return given

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if self.backend == "openai" and self.endpoint is None:
            raise ValueError("a served model needs its endpoint: --set model.endpoint=http://localhost:8000/v1")
        if self.backend == "vllm" and self.attn_implementation is not None:
            raise ValueError("vLLM chooses its attention itself: leave attn_implementation out")
        if self.backend == "vllm" and self.weights_name == "builtin":
            raise ValueError("vLLM does not know the family of the built-in LVLM: take --model builtin")
        return self

    @property
    def weights_name(self) -> str:
        """The folder or hub id that holds the weights, or ``builtin``."""
        return self.name.removeprefix(VLLM)


def find_backend(name: str) -> Backend:
    """Who runs a model of this name."""
    return "openai" if name.startswith(SERVED) else "vllm" if name.startswith(VLLM) else "hf"


class ImagesConfig(Settings):
    """Which images, and what is refused before decoding."""

    # each image is known by its path and hash, wherever the folder lies by now; the plan of a run that drops
    # near-duplicates names them
    no_result = frozenset({"root", "unpack", "near_duplicates", "near_distance"})

    root: ImageRoot = Field(
        Path("examples/images"),
        description="Folder searched for images, recursively; a relative one counts from the working directory; or "
        "an address such as s3://bucket/prefix, docs/data.md",
    )
    limit: int | None = Field(None, ge=1, description="Take only the first N images, in order of path")
    max_pixels: int = Field(50_000_000, ge=1, description="A larger image is refused by its header; choice")
    min_side: int = Field(8, ge=1, description="An image with a shorter side is refused; choice")
    max_aspect: float = Field(20.0, ge=1, description="A longer strip than this ratio is refused; choice")
    follow_links: FollowLinks = Field(
        "inside",
        description="Links to images: inside = those that end under the root, or in the hub's cache around it; all = "
        "anywhere, linked folders too; none",
    )
    near_duplicates: NearDuplicates = Field(
        "ignore",
        description="Images of a run that look like an earlier one: left alone, counted, or dropped; by imagehash",
    )
    near_distance: int = Field(
        6,
        ge=0,
        le=32,
        description="Bits of 64 in which their hashes differ at most; ours: another size, quality or brightness of the "
        "example images differs in 6, two of them in 20 or more",
    )
    unpack: bool = Field(
        False, description="Images lie in the rows of the data files themselves: write them to files under root first"
    )

    @property
    def unpack_root(self) -> Path | None:
        """Where images that lie in rows are written to; None if they are not."""
        return self.root if self.unpack and isinstance(self.root, Path) else None

    @model_validator(mode="after")
    def _unpacks_into_a_folder(self) -> Self:
        if self.unpack and not isinstance(self.root, Path):
            raise ValueError(f"unpack writes images under root, got {self.root}, expected a folder of this machine")
        return self


class GenerationConfig(Settings):
    """How the LVLM writes question-answer pairs."""

    no_result = frozenset({"templates", "batch_size"})  # the chosen templates are known by their texts

    instructions: Annotated[tuple[str, ...], LISTED] = Field(
        ("conversation",), description="Ids of instruction templates, docs/method.md", min_length=1
    )
    templates: HomePath | None = Field(None, description="A YAML file of your own templates, beside the shipped ones")
    pairs_per_image: int = Field(5, ge=1, le=50, description="K, asked of every instruction; paper: plausible")
    temperature: float = Field(1.0, ge=0, le=5, description="Of sampling; 0 takes the likeliest token; choice")
    top_p: float = Field(1.0, gt=0, le=1, description="Sample from the likeliest tokens of this probability; choice")
    max_new_tokens: int = Field(512, ge=1, description="Tokens of a reply, which holds all K pairs; choice")
    batch_size: int = Field(16, ge=1, description="Prompts (image x instruction) a batch; changes speed only")


class ScoringConfig(Settings):
    """How S(I2C) is measured."""

    no_result = frozenset({"batch_size"})

    form: Form = Field(
        "focused_gain",
        description="How the two passes are compared, docs/method.md; ours: the quarter of a draft that it keeps has "
        "the highest lift of all forms, +0.457 where chance has +0.309 (docs/experiments.md)",
    )
    no_image: NoImageMode = Field(
        "others",
        description="What 'without the image' means, docs/method.md; ours: other images tell what belongs to this "
        "one; with `drop` the same form has lift +0.442",
    )
    others: int = Field(4, ge=1, le=64, description="m, images averaged in the `others` mode; choice")
    context: Literal["turns", "none"] = Field(
        "turns",
        description="`score --data`: whether a question of a conversation is asked after the turns before it, in both "
        "passes; a run's pairs stand alone",
    )
    batch_size: int = Field(4, ge=1, description="Images a batch, each with all its pairs; changes speed only")
    model: str | None = Field(
        None,
        min_length=1,
        description="Another model that scores, `builtin`, a folder, a hub id or `vllm:NAME`; null: that of the config",
    )
    scorer: Literal["base", "tuned"] = Field(
        "base", description="Who scores what a tuned LVLM wrote: the model of the config, or the writer; choice"
    )


class SelectionConfig(Settings):
    """Which pair of an image is the positive; its others are the negatives."""

    positive: Literal["highest", "random", "lowest"] = Field(
        "highest", description="By S(I2C); paper. `random` and `lowest` are controls"
    )
    among: Literal["all", "opening", "openings"] = Field(
        "all",
        description="Rank by S(I2C) less its mean over the pairs with the same first words, as filtering.stratify",
    )


class FilteringConfig(Settings):
    """Which scored pairs are kept."""

    rule: FilterRule = Field("top_fraction", description="What is kept, docs/method.md; choice")
    fraction: float = Field(0.5, gt=0, le=1, description="top_fraction, random, longest, lowest: share kept; choice")
    count: int | None = Field(None, ge=1, description="The number kept instead of the fraction; needed by top_k")
    first: Form | None = Field(
        None,
        description="top_fraction, top_k: keep by this form first and then by scoring.form, each time the same part",
    )
    min_score: float | None = Field(
        None, allow_inf_nan=False, description="threshold: lowest S(I2C) kept, in the unit of scoring.form"
    )
    max_score: float | None = Field(
        None, allow_inf_nan=False, description="threshold: highest S(I2C) kept, in the unit of scoring.form"
    )
    seed: int | None = Field(None, ge=0, description="random: of another subset of the same scores; null: the run's")
    band: tuple[float, float] = Field(
        (0.25, 0.75), description="band: quantiles of S(I2C) between which to keep; choice"
    )
    stratify: Literal["none", "image", "instruction", "opening", "openings"] = Field(
        "none", description="Apply the rule within each; opening: the question's first word, openings: the answer's too"
    )

    @model_validator(mode="after")
    def _rule_has_its_numbers(self) -> Self:
        if self.rule == "top_k" and self.count is None:
            raise ValueError("rule top_k needs `count`, for example count: 5000")
        if self.rule == "threshold" and self.min_score is None and self.max_score is None:
            raise ValueError("rule threshold needs `min_score` or `max_score`, in the unit of `scoring.form`")
        if self.min_score is not None and self.max_score is not None and self.min_score > self.max_score:
            raise ValueError(f"got min_score {self.min_score} above max_score {self.max_score}: exchange them")
        if not 0 <= self.band[0] < self.band[1] <= 1:
            raise ValueError(f"band needs 0 <= low < high <= 1, got {list(self.band)}")
        return self


class ExportConfig(Settings):
    """How the kept pairs are written."""

    no_result = frozenset({"licence"})  # stands in the card alone

    formats: Annotated[tuple[ExportFormat, ...], LISTED] = Field(
        ("llava",), description="Who reads which: docs/data.md", min_length=1
    )
    with_scores: bool = Field(False, description="Add S(I2C), form, mode and model to every row")
    licence: str | None = Field(
        None, description="Of texts and images, as the Hub spells it, such as cc-by-4.0; null: the card names none"
    )

    @property
    def preferences(self) -> tuple[PreferenceKind, ...]:
        """The kinds of preferences that a format asks for."""
        return tuple(kind for kind in get_args(PreferenceKind) if any(one.endswith(kind) for one in self.formats))


class ExecutorConfig(Settings):
    """Where the shards of a run are made; changes no result."""

    name: Literal["local", "ray"] = Field(
        "local", description="local: in this process; ray: by the workers of a Ray cluster, docs/clusters.md"
    )
    address: str | None = Field(
        None, description="ray: of a running cluster, such as auto or HOST:6379; null: a cluster of this machine alone"
    )
    workers: int = Field(1, ge=1, description="ray: processes that make shards, each with a model of its own")
    num_cpus: float = Field(1.0, ge=0, description="ray: CPUs that a worker asks for, and computes with")
    num_gpus: float = Field(0.0, ge=0, description="ray: GPUs that a worker asks for")
    max_retries: int = Field(
        2, ge=0, description="ray: times a shard whose worker was lost is tried again, before the run stops"
    )


class RunConfig(Settings):
    """A whole run; what ``config.yaml`` in a run folder holds."""

    run: HomePath = Field(Path("runs/run"), description="The run folder")
    seed: int = Field(0, ge=0, description="Of all that is drawn: sampling, noise, other images, order")
    shard_size: int = Field(16, ge=1, description="Images a shard: what is lost at most by a kill; changes no result")
    rounds: int = Field(
        1, ge=0, le=MAX_ROUNDS, description="Times to tune and write again; 0: the draft only; paper: 1"
    )
    max_error_rate: float = Field(0.5, ge=0, le=1, description="Above this share of rejections, exit code 3; choice")
    report_to: Annotated[tuple[Tracker, ...], LISTED] = Field(
        (), description="Trackers that are told counts, scores and curves after `c3l run`, docs/run-folder.md"
    )
    model: ModelConfig = ModelConfig()
    images: ImagesConfig = ImagesConfig()
    columns: ColumnsConfig = ColumnsConfig()
    generation: GenerationConfig = GenerationConfig()
    scoring: ScoringConfig = ScoringConfig()
    selection: SelectionConfig = SelectionConfig()
    contrastive: ContrastiveConfig = ContrastiveConfig()
    filtering: FilteringConfig = FilteringConfig()
    export: ExportConfig = ExportConfig()
    finetuning: FinetuningConfig = FinetuningConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    executor: ExecutorConfig = ExecutorConfig()

    @model_validator(mode="after")
    def _scorer_is_not_served(self) -> Self:
        if self.scoring.model is not None and self.scoring.model.startswith(SERVED):
            raise ValueError(f"got scoring.model={self.scoring.model}: a served model cannot score, name a folder")
        return self

    @property
    def scorer(self) -> ModelConfig:
        """The model that scores what the config's own writes: itself, or the one that ``scoring.model`` names."""
        if self.scoring.model is None:
            return self.model
        name = self.scoring.model
        return self.model.model_copy(update={"name": name, "revision": None, "backend": find_backend(name)})

    def with_dtype(self, dtype: str) -> Self:
        """The same settings with the model in this dtype, where ``auto`` was decided."""
        return self.model_copy(update={"model": self.model.model_copy(update={"dtype": dtype})})

    @model_validator(mode="after")
    def _has_what_is_learned_from(self) -> Self:
        if self.finetuning.enabled and "llava" not in self.export.formats:
            raise ValueError("finetuning reads the export in LLaVA's layout: add llava to export.formats")
        return self
