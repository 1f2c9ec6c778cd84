"""What an OpenAI-compatible server means when it refuses a request, or answers without an answer.

    prompt    about this one text: too long, filtered; the next may fare better
    request   about a parameter, the model's name or the account: every prompt would be refused alike
    server    anything else that is no answer

Of parameters, some have a remedy: newer models take ``max_completion_tokens`` for ``max_tokens`` and no temperature,
some templates know no system turn. Servers word this differently, so words are looked for, not codes alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Concerns = Literal["prompt", "request", "server"]
Remedy = Literal["max_completion_tokens", "no_length", "no_temperature", "no_system"]
Settings = Mapping[str, float | str]

SYSTEM_TURN = "system"
_LEFT_OUT = "the server's own, others are refused"

_PROMPT = re.compile(
    r"context.?(?:length|window)|maximum context|too long|too large for|reduce the length|input (?:length|tokens)|"
    r"prompt.{0,40}(?:exceed|longer)|string.?above.?max|content.?(?:filter|policy|management)|responsible.?ai|"
    r"moderation|flagged|safety|harmful|inappropriate|blocked|could not finish",
    re.I,
)
_IMAGE = re.compile(
    r"\b(?:image|picture|mime)\b.{0,60}\b(?:unsupported|invalid|format|too (?:small|large)|size|broken)|"
    r"\b(?:unsupported|invalid|unknown|cannot|could not|failed to|unable to|broken)\b.{0,40}\b(?:image|picture|mime)\b",
    re.I | re.S,
)
_ACCOUNT = re.compile(
    r"account|image\(s\) may be provided|does not support (?:image|vision)|only supported by certain", re.I
)
_UNKNOWN = re.compile(
    r"unsupported|not supported|not support|unrecognized|unknown|unexpected|extra (?:inputs|fields)|not permitted|"
    r"not allowed|no longer|deprecated|only the default|use '?max_completion_tokens|must be (?:1|default)|"
    r"invalid (?:parameter|value|field|argument)",
    re.I,
)
_REQUEST = re.compile(
    r"api.?key|authenticat|credential|billing|quota|credit|model.{0,80}(?:not (?:exist|found)|unknown)|"
    r"(?:unknown|invalid|no such) model|not a (?:chat|valid) model|max_(?:completion_)?tokens|temperature",
    re.I,
)
_TEXTS = ("messages", "prompt", "input")  # parameters that are the prompt itself


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a refusal is about.

    Attributes:
        concerns: Whom it meets.
        remedy: What to send instead, if that is known.
    """

    concerns: Concerns
    remedy: Remedy | None = None


def tell_error(error: Exception) -> str:
    """A client's error with what the server said, which some versions of it keep to themselves."""
    told, body = str(error), getattr(error, "body", None)
    inner = body.get("message") if isinstance(body, dict) else body
    return mend_text(told if not body or (isinstance(inner, str) and inner in told) else f"{told} - {body}")


def without_echo(told: str) -> str:
    """A message up to where it repeats what it was sent, as those of pydantic do."""
    return re.sub(r"(['\"])input\1\s*:.*", "", told, flags=re.S)


def read_refusal(status: int, told: str, parameter: str | None, code: str | None, sent: Settings) -> Refusal:
    """What a status with its message is about.

    Args:
        status: Of HTTP.
        told: The message.
        parameter: Which the server says it is about, if it does.
        code: The server's own word for it.
        sent: With which settings.
    """
    if status not in (400, 403, 413, 422):
        return Refusal("server")
    if _ACCOUNT.search(f"{told} {code}"):
        return Refusal("request" if status != 403 else "server")
    if status == 413 or _PROMPT.search(f"{told} {code}") or (status != 403 and _IMAGE.search(told)):
        return Refusal("prompt")
    if status == 403:
        return Refusal("server")
    strange = bool(_UNKNOWN.search(f"{told} {code}"))
    if strange and (remedy := _find_remedy(told, parameter, sent)):
        return Refusal("request", remedy)
    about_text = parameter is not None and parameter.startswith(_TEXTS)
    if not about_text and (strange or parameter or _REQUEST.search(f"{told} {code}")):
        return Refusal("request")
    return Refusal("prompt")


def _find_remedy(told: str, parameter: str | None, sent: Settings) -> Remedy | None:
    """For the parameter that is named by the server, else for one that was sent and that its words speak of."""
    about = parameter or without_echo(told)
    if "temperature" in about and _is_sent("temperature", sent):
        return "no_temperature"
    if "max_tokens" in about and _is_sent("max_tokens", sent):
        return "max_completion_tokens"
    if "max_completion_tokens" in about and _is_sent("max_completion_tokens", sent):
        return "no_length"
    if re.search(r"\bsystem\b", told, re.I) and SYSTEM_TURN not in sent:
        return "no_system"
    return None


def _is_sent(name: str, sent: Settings) -> bool:
    return not isinstance(sent.get(name, ""), str)


def apply_remedy(remedy: Remedy, sent: Settings) -> Settings:
    """The settings to send from now on; a text says why a number is not sent."""
    rest = dict(sent)
    if remedy == "no_temperature":
        return rest | {"temperature": _LEFT_OUT}
    if remedy == "max_completion_tokens":
        length = rest.pop("max_tokens")
        return rest | {"max_completion_tokens": length}
    if remedy == "no_length":
        return rest | {"max_completion_tokens": _LEFT_OUT}
    return rest | {SYSTEM_TURN: "in the user's turn, a turn of its own is refused"}


def tell_left_out(name: str) -> str:
    """The note of a served model about a parameter that is not sent any more."""
    return f"the server refuses {name}, and uses its own"


def read_content(content: Any) -> str:
    """A message's answer: a text, or the texts of its parts; parts that are thoughts are none."""
    if isinstance(content, str):
        return mend_text(content)
    parts = content if isinstance(content, list) else []
    return mend_text("".join(part if isinstance(part, str) else _read_part(part) for part in parts))


def mend_text(text: str) -> str:
    """A text with U+FFFD for each half of a character, which JSON can hold and files cannot; two halves become one."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _read_part(part: Any) -> str:
    fields = part if isinstance(part, dict) else vars(part) if hasattr(part, "__dict__") else {}
    text = fields.get("text")
    return text if fields.get("type", "text") in ("text", "output_text") and isinstance(text, str) else ""


def find_reasoning(message: Any) -> Any:
    """What a message holds of a thought beside its answer, in whichever field the server puts it; None if nothing."""
    fields = (getattr(message, name, None) for name in ("reasoning_content", "reasoning", "reasoning_details"))
    return next((field for field in fields if field), None)


def explain_silence(message: Any, reason: str | None) -> str:
    """Why a message has no answer, to be put behind words that say so."""
    refusal = getattr(message, "refusal", None)
    if isinstance(refusal, str) and refusal:
        return f": it refuses, {refusal[:100]!a}"
    if reason == "length":
        told = "its tokens were used up before it (finish_reason length), by thinking"
        return f": {told}; raise evaluation.judge.max_tokens"
    if find_reasoning(message):
        return f": there is reasoning, but content is empty ({reason}); turn its thinking off or look at the server"
    return f" ({reason})"
