"""Who reviews answers: a model behind an endpoint, or a local one; and the file that keeps their reviews."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from c3l.errors import C3LError, ConfigError, DataError, OutOfMemoryError
from c3l.models.interface import Completion, GenerateRequest, Sampling
from c3l.models.refusals import (
    SYSTEM_TURN,
    Concerns,
    apply_remedy,
    explain_silence,
    read_content,
    read_refusal,
    tell_error,
)
from c3l.storage.journal import append_lines, read_lines

TEMPERATURE = 0.2  # the original's, as is MAX_TOKENS
MAX_TOKENS = 1024


class JudgeError(C3LError):
    """The judge does not work: it cannot be reached, or refuses everybody."""


class NoReviewError(JudgeError):
    """The judge has no text for this one prompt, such as one that it finds too long; others may fare better."""


class RefusedError(NoReviewError):
    """The judge refuses this one prompt, and would each time that it is sent."""


class Judge(Protocol):
    """Something that writes a review."""

    @property
    def name(self) -> str:
        """Which model it is; goes into every result, because scores by two judges do not compare."""
        ...

    @property
    def settings(self) -> Mapping[str, float | str]:
        """What its text depends on besides model and prompt, such as the temperature.

        A server may refuse some of it: from then on this says what is sent instead.
        """
        ...

    def ask(self, system: str, prompt: str, repeat: int) -> str:
        """What it writes.

        Args:
            system: Who it is to be.
            prompt: What it is to review, and how.
            repeat: From 0; another number is another draw.

        Raises:
            NoReviewError: If there is no text for this prompt.
            JudgeError: If there is none for any.
        """
        ...


class Writer(Protocol):
    """The part of an ``InferenceModel`` that a judge needs."""

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
        """One completion a request."""
        ...


class EndpointJudge:
    """A model behind an OpenAI-compatible server; the key is kept out of errors and files."""

    def __init__(
        self,
        model: str,
        base_url: str,
        api_key: str | None = None,
        temperature: float = TEMPERATURE,
        max_tokens: int = MAX_TOKENS,
        retries: int = 3,
    ) -> None:
        """A client; nothing is sent yet.

        Args:
            model: Its name at the server.
            base_url: Such as ``http://localhost:8000/v1``.
            api_key: Or the environment's OPENAI_API_KEY; a local server needs none.
            temperature: 0 is greedy.
            max_tokens: Upper bound on a review's length.
            retries: Times that a request is sent again after a lost connection, 408, 409, 429 or 5xx.

        Raises:
            ConfigError: If the client's package is not installed.
        """
        try:
            import openai
        except ImportError:
            raise ConfigError("a judge behind an endpoint needs the openai package: pip install 'c3l[judge]'") from None
        self._openai: Any = openai
        self._key = api_key or os.environ.get("OPENAI_API_KEY") or "none"
        self._client: Any = openai.OpenAI(base_url=base_url, api_key=self._key, max_retries=retries)
        self._url = base_url
        self._sent: Mapping[str, float | str] = {"temperature": temperature, "max_tokens": max_tokens}
        self.name = model

    @property
    def settings(self) -> Mapping[str, float | str]:
        """Temperature and length, as they are sent by now; where the server is changes nothing."""
        return self._sent

    def ask(self, system: str, prompt: str, repeat: int) -> str:
        """The first choice's text; each request is a draw of its own, whatever ``repeat`` says.

        A parameter that the server refuses is replaced, or left out, for the rest.
        """
        while True:
            try:
                return self._text_of(self._send(system, prompt))
            except self._openai.APIStatusError as error:
                refusal = read_refusal(error.status_code, tell_error(error), error.param, error.code, self._sent)
                if refusal.remedy is None:
                    raise self._refuse(refusal.concerns, error) from None
                self._sent = apply_remedy(refusal.remedy, self._sent)
            except (self._openai.OpenAIError, ValueError) as error:  # ValueError: a body that is called JSON and is not
                raise self._refuse("server", error) from None

    def _send(self, system: str, prompt: str) -> Any:
        turns = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
        if SYSTEM_TURN in self._sent:
            turns = [{"role": "user", "content": f"{system}\n\n{prompt}"}]
        numbers = {name: value for name, value in self._sent.items() if not isinstance(value, str)}
        return self._client.chat.completions.create(model=self.name, messages=turns, **numbers)

    def _refuse(self, concerns: Concerns, error: Exception) -> JudgeError:
        told = self._describe(error)
        if concerns == "prompt":
            return RefusedError(f"the judge {self.name} refuses a prompt: {told}")
        wait = getattr(getattr(error, "response", None), "headers", {}).get("retry-after")
        told += f"; it asks to wait {wait} seconds" if wait else ""
        if concerns == "request":
            return JudgeError(f"the judge {self.name} at {self._url} would refuse every prompt: {told}")
        return JudgeError(
            f"got no review from {self.name} at {self._url}: {told}; look at the server, the name of its model and "
            "OPENAI_API_KEY, then start again, finished reviews are kept"
        )

    def _text_of(self, reply: Any) -> str:
        choices = getattr(reply, "choices", None)
        if not isinstance(choices, list):
            raise JudgeError(f"got something else than a chat completion from {self._url}; does its path end in /v1?")
        message = getattr(choices[0], "message", None) if choices else None
        text = read_content(getattr(message, "content", None))
        if not text.strip():
            reason = getattr(choices[0], "finish_reason", None) if choices else "no choice"
            raise NoReviewError(f"the judge {self.name} wrote no answer{explain_silence(message, reason)}")
        return text

    def _describe(self, error: Exception) -> str:
        told = f"{type(error).__name__}: {' '.join(tell_error(error).split())}"
        return told.replace(self._key, "***")[:300] if self._key != "none" else told[:300]


class ModelJudge:
    """A local LVLM that is shown no image."""

    def __init__(
        self, model: Writer, name: str, temperature: float = TEMPERATURE, max_new_tokens: int = MAX_TOKENS
    ) -> None:
        self._model = model
        self._sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens)
        self.name = name

    @property
    def settings(self) -> Mapping[str, float | str]:
        """Temperature and length."""
        return {"temperature": self._sampling.temperature, "max_new_tokens": self._sampling.max_new_tokens}

    def ask(self, system: str, prompt: str, repeat: int) -> str:
        """Its completion; equal arguments give the same one."""
        turn = f"{system}\n\n{prompt}"  # not every chat template knows a system turn
        seed = int(_hash(turn, repeat)[:8], 16)
        try:
            (completion,) = self._model.generate([GenerateRequest("review", None, turn, seed)], self._sampling)
        except OutOfMemoryError as error:
            raise NoReviewError(f"a prompt does not fit into the memory of the judge {self.name}: {error}") from None
        if completion.finish_reason == "too_long":
            raise RefusedError(f"a prompt is too long for the judge {self.name}: {completion.problem}")
        if completion.finish_reason == "non_finite_logits":
            raise NoReviewError(f"the judge {self.name} gave numbers that are not finite; try --dtype float32")
        if not completion.text.strip():
            raise NoReviewError(
                f"the judge {self.name} wrote no answer{explain_silence(None, completion.finish_reason)}"
            )
        return completion.text


class CachedJudge:
    """A judge whose reviews are kept in a file, one line each, so that nothing is asked twice.

    A review is known by the hash of judge, settings, prompts and repeat; the settings are those that were wished for,
    so that what a server refuses of them is not asked again either. The name must say which model it is: the file
    cannot know that other weights were put behind it.
    """

    def __init__(self, judge: Judge, path: Path) -> None:
        """Reads and writes nothing yet.

        Args:
            judge: Who is asked for what is not in the file.
            path: The file, JSON lines; one process at a time may write to it.
        """
        self._judge = judge
        self._path = path
        self._wished = dict(judge.settings)
        self._sent: Mapping[str, float | str] | None = None
        self._known: dict[str, dict[str, Any]] | None = None

    @property
    def name(self) -> str:
        """The judge's."""
        return self._judge.name

    @property
    def settings(self) -> Mapping[str, float | str]:
        """The judge's; where it was not asked, what the reviews in the file were asked for with."""
        return self._sent or self._judge.settings

    def ask(self, system: str, prompt: str, repeat: int) -> str:
        """The review in the file, or a new one, which is on the disk when this returns.

        Raises:
            DataError: If the file holds something else than reviews.
            StorageError: If the disk refuses.
        """
        if self._known is None:
            self._known = self._read()
        key = _hash(self.name, self._wished, system, prompt, repeat)
        if key not in self._known:
            row: dict[str, Any] = {"key": key, "judge": self.name, "repeat": repeat}
            row["text"] = self._judge.ask(system, prompt, repeat)
            if self._judge.settings != self._wished:
                row["settings"] = dict(self._judge.settings)
            append_lines(self._path, [json.dumps(row)])
            self._known[key] = row
        self._sent = self._known[key].get("settings") or self._sent
        return str(self._known[key]["text"])

    def _read(self) -> dict[str, dict[str, Any]]:
        """The reviews by their key."""
        known = {}
        for number, line in enumerate(read_lines(self._path), 1):
            try:
                row = json.loads(line)
                known[str(row["key"])] = {"text": str(row["text"]), "settings": dict(row.get("settings") or {})}
            except (ValueError, KeyError, TypeError, AttributeError):
                raise DataError(
                    f"{self._path}: line {number} is not a review that c3l wrote; remove that line, it is asked again"
                ) from None
        return known


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
