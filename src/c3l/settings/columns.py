"""Which columns of data files that others wrote hold what is read."""

from typing import Any, Self

from pydantic import Field, model_validator

from c3l.settings.base import Settings


class ColumnsConfig(Settings):
    """Columns of data files whose names are not known, also as `--columns question=q_en,answer=a_en`."""

    id: str | None = Field(None, description="Column of the row's id")
    image: str | None = Field(None, description="Column of the path of its image, or of the image itself")
    question: str | None = Field(None, description="Column of the question")
    answer: str | None = Field(None, description="Column of the answer; without a question one about the image alone")
    system: str | None = Field(None, description="Column of the system prompt")
    turns: str | None = Field(None, description="Column of a list of turns, instead of question and answer")

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        pairs = [one.partition("=") for one in given.split(",")]
        if not all(name.strip() and column.strip() for name, _, column in pairs):
            raise ValueError(f"got {given!r}, expected such as question=q_en,answer=a_en,image=file")
        named = {name.strip(): column.strip() for name, _, column in pairs}
        if len(named) < len(pairs):
            raise ValueError(f"got {given!r}, expected each name once")
        return named

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if self.question is not None and self.answer is None:
            raise ValueError("a column of questions needs one of answers: answer=...")
        if self.turns is not None and self.answer is not None:
            raise ValueError("got columns of turns and of answers, expected one of them")
        return self

    @property
    def named(self) -> dict[str, str]:
        """Those that are given: what is read, to its column."""
        return self.model_dump(exclude_none=True)


def name_columns(config: ColumnsConfig) -> dict[str, dict[str, str]]:
    """The columns as a setting, where any is named: what was read without any goes on without a change."""
    return {"columns": config.named} if config.named else {}
