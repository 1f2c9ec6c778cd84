"""The settings of evaluation: benchmarks, how they are asked, and who reviews."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from c3l.settings.base import LISTED, Settings
from c3l.settings.roots import HomePath

TaskName = Literal["pope", "mmbench", "seed_bench", "llava_bench"]


class JudgeConfig(Settings):
    """Who reviews the answers of LLaVA-Bench: a model behind an OpenAI-compatible server, or a local one."""

    no_result = frozenset({"endpoint"})

    endpoint: str | None = Field(None, description="Such as http://localhost:8000/v1; the key is OPENAI_API_KEY")
    model: str | None = Field(None, description="Its name at the endpoint, or without one a local folder or hub id")
    repeats: int = Field(1, ge=1, description="Reviews an answer, averaged; one in LLaVA's script")
    swap: bool = Field(False, description="Ask in both orders and average, against a preference for the first")
    attempts: int = Field(3, ge=1, description="Times a review that cannot be read is asked for; choice")
    max_tokens: int = Field(
        1024, ge=1, description="Upper bound on a review, that of LLaVA's script; a judge that thinks needs more"
    )


class BenchmarkConfig(Settings):
    """One benchmark and its files, which belong to its authors and are never shipped."""

    task: TaskName = Field(description="Which benchmark")
    data: Annotated[tuple[HomePath, ...], LISTED] = Field(
        description="pope: its files; mmbench: one TSV; seed_bench: SEED-Bench.json; llava_bench: its folder",
        min_length=1,
    )
    image_root: HomePath | None = Field(None, description="Folder that image paths begin in; mmbench needs none")
    by: Literal["generation", "likelihood"] = Field(
        "generation", description="seed_bench: letters that are written (LLaVA), or the likeliest choice (official)"
    )
    frames: str | None = Field(None, description="seed_bench: folder under image_root with the videos' middle frames")


class EvaluationConfig(Settings):
    """The benchmarks that a run ends with, and how they are asked."""

    tasks: Annotated[tuple[BenchmarkConfig, ...], LISTED] = Field(
        (), description="Each a section as below; none: the run ends without"
    )
    blind: bool = Field(True, description="Ask everything without the image too: what guessing alone would get")
    batch_size: int = Field(8, ge=1, description="Questions a batch; changes speed only")
    max_new_tokens: int | None = Field(
        None, ge=1, description="Tokens of an answer; null: the benchmark's own number. One who thinks first needs more"
    )
    judge: JudgeConfig = JudgeConfig()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [task.task for task in self.tasks]
        if len(names) != len(set(names)):
            raise ValueError(f"got the tasks {', '.join(names)}, expected each once")
        return self
