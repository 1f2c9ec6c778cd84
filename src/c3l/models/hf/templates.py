"""Chat templates, brought to take what c3l shows them: a message as a list of parts, images among them.

Templates differ in what they take. Most loop over parts and write a placeholder for an image; some know text parts
alone, and some add a message to a string. What comes through is tried out once, with words that are looked for in the
result. Where the template does not take parts as they are, a few lines before it write them in the form that it takes,
with the image's placeholder in the text, as it stands in the data of such models.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from PIL import Image

from c3l.errors import BackendError, name_error

if TYPE_CHECKING:
    from transformers import ProcessorMixin

_QUESTION, _ANSWER, _SYSTEM = "ASKEDWORDS", "SAIDWORDS", "TOLDWORDS"
# a message that was written as Python or JSON writes a list
_LEAK = r"""['"]text['"]\s*:\s*['"]%s"""
_FLATTEN = """\
{%- set c3l_forms = FORMS -%}
{%- set c3l = namespace(messages=[]) -%}
{%- for message in messages -%}
{%- set form = c3l_forms[message['role']] -%}
{%- if form and message['content'] is not string and message['content'] is not none -%}
{%- set c3l.text = '' -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}{%- set c3l.text = c3l.text + IMAGE -%}
{%- elif part['text'] is defined -%}{%- set c3l.text = c3l.text + part['text'] -%}{%- endif -%}
{%- endfor -%}
{%- set content = c3l.text if form == 'string' else [{'type': 'text', 'text': c3l.text}] -%}
{%- set c3l.messages = c3l.messages + [dict(message, content=content)] -%}
{%- else -%}{%- set c3l.messages = c3l.messages + [message] -%}{%- endif -%}
{%- endfor -%}
{%- set messages = c3l.messages -%}{{ '' }}"""


def fit_template(name: str, processor: "ProcessorMixin", markers: list[str], accepts: Callable[[Any], None]) -> None:
    """Give a processor the chat template of its model, in a form that takes lists of parts.

    Args:
        name: The model's name, for the messages.
        processor: It gets the template of its tokenizer if it has none of its own.
        markers: What may stand for an image in a text, the likeliest first.
        accepts: Encodes a prompt about an image by the processor; raises where that does not work.

    Raises:
        BackendError: If there is no template, or none of the forms brings image and question through.
    """
    given = getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None)
    original = _choose(name, given)
    forms = {role: form for role in ("assistant", "system") if (form := _find_form(processor, original, role))}
    failures: list[str] = []
    for user, marker in _candidates(markers):
        processor.chat_template = _flatten(original, {**forms, **({"user": user} if user else {})}, marker)
        if failure := _try(processor, marker, accepts):
            failures.append(failure)
            continue
        if isinstance(given, Mapping):  # others have names of their own
            processor.chat_template = {**given, "default": processor.chat_template}
        return
    told = " or ".join(marker.strip() for marker in markers) or "a placeholder"
    raise BackendError(
        f"the chat template of {name} does not bring an image and a question through once each ({failures[0]}), "
        f"neither as parts nor as text with {told} in it: put the template of the "
        "model that it was made from into chat_template.jinja"
    )


def _choose(name: str, found: Any) -> str:
    """The template that chats, of one or of several that have names."""
    if isinstance(found, Mapping):
        if "default" not in found and len(found) > 1:
            raise BackendError(
                f"got {name} with the chat templates {', '.join(sorted(found))}, expected one that is named default: "
                "put the one that chats into chat_template.jinja"
            )
        found = found.get("default") or next(iter(found.values()), None)
    if not found:
        raise BackendError(
            f"got {name} without a chat template, expected how its model writes a turn in chat_template.jinja: copy "
            "that file, or chat_template.json, from the model that it was made from"
        )
    return str(found)


def _candidates(markers: list[str]) -> Iterator[tuple[str | None, str]]:
    """Forms of a user's message, and what stands for an image in it; None is a list of parts as it is."""
    yield None, ""
    for form in ("text", "string"):
        for marker in markers:
            yield form, marker


def _flatten(template: str, forms: Mapping[str, str], marker: str) -> str:
    if not forms:
        return template
    return _FLATTEN.replace("FORMS", repr(dict(forms))).replace("IMAGE", repr(marker)) + template


def _find_form(processor: "ProcessorMixin", template: str, role: str) -> str | None:
    """The form of a role's messages that comes through; None for parts as they are, or where none does."""
    words = {"assistant": _ANSWER, "system": _SYSTEM}[role]
    user = {"role": "user", "content": [{"type": "text", "text": _QUESTION}]}
    other = {"role": role, "content": [{"type": "text", "text": words}]}
    for form in (None, "text", "string"):
        # the user's message is tried by itself, so here it takes any form that does not fail
        for users in (None, "string"):
            forms = {key: value for key, value in ((role, form), ("user", users)) if value}
            processor.chat_template = _flatten(template, forms, "")
            text = _render(processor, [other, user] if role == "system" else [user, other, user])
            if isinstance(text, str) and text.count(words) == 1 and not re.search(_LEAK % words, text):
                return form
    return None


def _try(processor: "ProcessorMixin", marker: str, accepts: Callable[[Any], None]) -> str | None:
    """What is wrong with the processor's template as it is; None if nothing."""
    part = {"type": "text", "text": _QUESTION}
    shown = _render(processor, [{"role": "user", "content": [{"type": "image"}, part]}])
    blind = _render(processor, [{"role": "user", "content": [part]}])
    for text in (shown, blind):
        if isinstance(text, Exception):
            return name_error(text, 160)
        if text.count(_QUESTION) != 1:
            return f"the question is there {text.count(_QUESTION)} times"
        if re.search(_LEAK % _QUESTION, text):
            return "the question is written as a list"
    if shown == blind:
        return "the image is left out"
    if marker and not (str(shown).count(marker) == 1 and str(shown).index(marker) < str(shown).index(_QUESTION)):
        return f"{marker} is there {str(shown).count(marker)} times"
    try:
        accepts(processor)
    except Exception as error:  # processors raise what they like
        return name_error(error, 160)
    return None


def _render(processor: "ProcessorMixin", chat: list[dict[str, Any]]) -> str | Exception:
    try:
        return str(processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))
    except Exception as error:  # a template raises what it likes
        return error


def sample_image() -> Image.Image:
    """An image to try things out with, wider than high, as most are."""
    return Image.new("RGB", (96, 64), (120, 120, 120))
