"""A model behind an OpenAI-compatible server: it writes; nobody can score through it.

What such a server promises differs: some ignore the temperature, some the seed. So a few short requests at loading find
out, and what they found is kept with all that is written.
"""

import base64
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal, NoReturn

from PIL.Image import Image

from c3l.errors import BackendError, ConfigError
from c3l.models.interface import Completion, GenerateRequest, Sampling, ScoreRequest
from c3l.models.notes import add_notes
from c3l.models.refusals import (
    apply_remedy,
    find_reasoning,
    read_content,
    read_refusal,
    tell_error,
    tell_left_out,
    without_echo,
)
from c3l.records import NoImageMode, Provenance
from c3l.settings.schema import SERVED, ModelConfig

RETRIES = 5  # of a request after a lost connection, 408, 409, 429 or 5xx, with growing waits; choice
TIMEOUT = 600.0  # seconds; choice
_QUALITY = 95  # of JPEG; choice
_PROBE = GenerateRequest("probe", None, "Write one sentence about anything that comes to your mind.", 1)
_SCHEMA = json.dumps(
    {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"], "additionalProperties": False}
)
_PROBED = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=24)

_TAG = re.compile(r"</?think(?:ing)?>", re.IGNORECASE)  # of a server that leaves the tags in
_DISPENSABLE = ("seed", "top_p", "response_format")


@dataclass(frozen=True, slots=True)
class _Written:
    """A completion, and the tokens that it cost."""

    completion: Completion
    tokens_in: int = 0
    tokens_out: int = 0


class OpenAIModel:
    """An ``InferenceModel`` that can write, and says of everything else who can."""

    def __init__(self, config: ModelConfig, provenance: Provenance) -> None:
        """Reach the server and try out what it heeds.

        Raises:
            ConfigError: If the client's package is not installed.
            BackendError: If the server cannot be reached, or knows no such model.
        """
        try:
            import openai
        except ImportError:
            raise ConfigError("a served model needs the openai package: pip install 'c3l[openai]'") from None
        self._openai: Any = openai
        self._key = os.environ.get("OPENAI_API_KEY") or "none"
        self._client: Any = openai.OpenAI(
            base_url=config.endpoint, api_key=self._key, max_retries=RETRIES, timeout=TIMEOUT
        )
        self._config, self._name = config, config.name.removeprefix(SERVED)
        self._length_name, self._left_out = "max_tokens", frozenset[str]()
        self._samples_by_config = False
        self._holds_schema: bool | None = None  # unknown until one is asked for
        self._usage = {"tokens_in": 0, "tokens_out": 0}
        self._lock, self._provenance = Lock(), provenance
        found = self._probe()  # which may itself note what the server refuses
        self._provenance = add_notes(self._provenance, found)
        self.take_usage()

    @property
    def provenance(self) -> Provenance:
        """The name at the server, and what it was found to heed."""
        return self._provenance

    @property
    def takes_turns(self) -> bool:
        """A server scores nothing."""
        return False

    @property
    def takes_system(self) -> bool:
        """Nothing is known of its chat template."""
        return False

    def prepare(self, image: Image) -> None:
        """Nothing: the server does what there is to do."""

    def prepare_scores(self, request: ScoreRequest, no_image: NoImageMode) -> None:
        """Nothing: it scores none."""

    def no_image_modes(self) -> frozenset[NoImageMode]:
        """It cannot be asked for probabilities of a given answer.

        Raises:
            BackendError: Always.
        """
        self._refuse_scoring()

    def score(self, requests: Sequence[ScoreRequest], no_image: NoImageMode) -> NoReturn:
        """It cannot.

        Raises:
            BackendError: Always.
        """
        self._refuse_scoring()

    def _refuse_scoring(self) -> NoReturn:
        raise BackendError(
            f"the served model {self._name} can write, but not score: name one that scores with "
            "--set scoring.model=FOLDER (or a hub id, or builtin)"
        )

    def show_prompt(self, prompt: str, image: Image | None) -> tuple[str, ...]:
        """The words that are sent; what the server's template makes of them is not told."""
        return ("<image>",) * (image is not None) + tuple(prompt.split())

    def find_control_token(self, text: str) -> str | None:
        """None: which they are is not told."""
        return None

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> list[Completion]:
        """One completion a request, in order; several are under way at once.

        Raises:
            BackendError: If the server is lost, or refuses every request alike.
        """
        if self._holds_schema is None and any(request.schema for request in requests):
            self._probe_schema()
        pool = ThreadPoolExecutor(min(self._config.concurrency, max(len(requests), 1)))
        try:
            written = list(pool.map(lambda request: self._write(request, sampling), requests))
        except BaseException:  # Ctrl-C too: nobody waits for what is under way
            self._client.close()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        for one in written:
            self._usage["tokens_in"] += one.tokens_in
            self._usage["tokens_out"] += one.tokens_out
        return [one.completion for one in written]

    def take_usage(self) -> dict[str, int]:
        """Tokens read and written since it was last asked, as the server counts them."""
        usage, self._usage = self._usage, {"tokens_in": 0, "tokens_out": 0}
        return usage

    def _probe(self) -> list[str]:
        """Whether another seed gives another text, and the same seed the same; what to send so that it does."""
        texts = self._draw_probes()
        if texts[0] == texts[1]:
            self._samples_by_config = True  # `transformers serve` draws only where a generation config says so
            with suppress(BackendError):  # strict servers refuse what they do not know
                texts = self._draw_probes()
            self._samples_by_config = texts[0] != texts[1]
        if not any(texts):  # all was used up by thinking
            return [f"served by {self._config.endpoint}: whether temperature and seed are heeded could not be seen"]
        differs, repeats = texts[0] != texts[1], texts[0] == texts[2]
        return [
            f"served by {self._config.endpoint}: another seed gives {'another' if differs else 'the same'} text"
            + ("" if differs else ", so temperature or seed are not heeded"),
            f"the same seed gives {'the same' if repeats else 'another'} text"
            + ("" if repeats else ", so a run that is made again differs; what is made is never asked again"),
        ]

    def _probe_schema(self) -> None:
        """Whether a reply follows a JSON schema; some servers take it and do nothing, some refuse it."""
        self._holds_schema = True
        text = self._write(GenerateRequest("probe", None, _PROBE.prompt, 1, _SCHEMA), _PROBED).completion.text
        self._holds_schema = _has_word(text)
        told = "follow" if self._holds_schema else "do not follow"
        self._provenance = add_notes(self._provenance, [f"replies {told} a JSON schema (response_format)"])

    def _draw_probes(self) -> list[str]:
        seeds = (1, 2, 1)
        requests = [GenerateRequest(f"probe-{place}", None, _PROBE.prompt, seed) for place, seed in enumerate(seeds)]
        return [self._write(request, _PROBED).completion.text for request in requests]

    def _write(self, request: GenerateRequest, sampling: Sampling) -> _Written:
        while True:
            sent = self._numbers(request, sampling) | self._format(request)
            try:
                reply = self._client.chat.completions.create(
                    model=self._name,
                    messages=[{"role": "user", "content": self._content(request)}],
                    extra_body=self._extra(sampling),
                    **sent,
                )
            except self._openai.APIStatusError as error:
                if (refused := self._refuse(request, error, sent)) is not None:
                    return refused
            except (self._openai.OpenAIError, ValueError) as error:  # ValueError: a body that is called JSON and is not
                raise self._lost(error) from None
            else:
                return self._read(request, reply)

    def _numbers(self, request: GenerateRequest, sampling: Sampling) -> dict[str, Any]:
        numbers = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._length_name: sampling.max_new_tokens,
            "seed": request.seed % 2**31,  # some servers hold seeds in 32 bits with a sign
        }
        return {name: value for name, value in numbers.items() if name not in self._left_out}

    def _format(self, request: GenerateRequest) -> dict[str, Any]:
        if not (request.schema and self._holds_schema) or "response_format" in self._left_out:
            return {}
        schema = {"name": "reply", "strict": True, "schema": json.loads(request.schema)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}

    def _extra(self, sampling: Sampling) -> dict[str, str] | None:
        if not self._samples_by_config or sampling.temperature == 0:
            return None
        rules = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_new_tokens": sampling.max_new_tokens,
        }
        return {"generation_config": json.dumps(rules)}

    def _content(self, request: GenerateRequest) -> list[dict[str, Any]]:
        text = {"type": "text", "text": request.prompt}
        if request.image is None:
            return [text]
        return [{"type": "image_url", "image_url": {"url": to_uri(request.image, self._config.image_side)}}, text]

    def _refuse(self, request: GenerateRequest, error: Any, sent: Mapping[str, Any]) -> _Written | None:
        """A completion without a text where this one request is refused; None where it is to be sent otherwise.

        Raises:
            BackendError: Where every request would be refused.
        """
        refusal = read_refusal(error.status_code, tell_error(error), error.param, error.code, sent)
        if refusal.remedy == "max_completion_tokens":
            self._length_name = "max_completion_tokens"
            return None
        if refusal.remedy in ("no_length", "no_temperature"):
            changed = apply_remedy(refusal.remedy, sent)
            for name in [name for name, value in changed.items() if isinstance(value, str)]:
                self._leave_out(name)
            return None
        about = str(error.param or without_echo(tell_error(error)))
        named = next((name for name in _DISPENSABLE if name in about), None)
        if refusal.concerns == "request" and named and named in sent:
            self._leave_out(named)
            return None
        if refusal.concerns != "prompt":
            raise self._lost(error)
        return _Written(Completion(request.request_id, "", "refused", self._describe(error)))

    def _leave_out(self, name: str) -> None:
        """Send a parameter no longer, and say so once; threads may find it out together."""
        with self._lock:
            if name not in self._left_out:
                self._left_out |= {name}
                self._provenance = add_notes(self._provenance, [tell_left_out(name)])

    def _read(self, request: GenerateRequest, reply: Any) -> _Written:
        choices = getattr(reply, "choices", None)
        if not isinstance(choices, list) or not choices:
            raise BackendError(
                f"got something else than a chat completion from {self._config.endpoint}; does it end in /v1?"
            )
        message, reason = getattr(choices[0], "message", None), getattr(choices[0], "finish_reason", None)
        text, usage = read_content(getattr(message, "content", None)), getattr(reply, "usage", None)
        ends: Literal["length", "stop", "refused"] = (
            "length" if reason == "length" else "refused" if reason == "content_filter" else "stop"
        )
        if not text.strip() and (thought := find_reasoning(message)):  # as a model here would have written it
            said = _TAG.sub("", read_content(thought)) or "out of sight"
            text = f"<think>{said}" + ("" if ends == "length" else "</think>")
        problem = "the server's content filter" if ends == "refused" else ""
        completion = Completion(request.request_id, text, ends, problem)
        return _Written(
            completion, *(int(getattr(usage, name, 0) or 0) for name in ("prompt_tokens", "completion_tokens"))
        )

    def _lost(self, error: Exception) -> BackendError:
        return BackendError(
            f"got no text from {self._name} at {self._config.endpoint}: {self._describe(error)}; look at the "
            "server, the name of its model and OPENAI_API_KEY, then start again, finished shards are kept"
        )

    def _describe(self, error: Exception) -> str:
        told = f"{type(error).__name__}: {' '.join(tell_error(error).split())}"
        return (told.replace(self._key, "***") if self._key != "none" else told)[:300]


def _has_word(text: str) -> bool:
    """Whether a reply follows ``_SCHEMA``."""
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and [*value] == ["word"]


def to_uri(image: Image, side: int | None) -> str:
    """An image as a data URI, JPEG; where a side is longer than ``side`` pixels, smaller."""
    if side is not None and max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
