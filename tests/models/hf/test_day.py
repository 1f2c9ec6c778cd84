"""A template that asks the clock is told one day, whatever day it is."""

from copy import copy

import pytest
from transformers.utils import chat_template_utils

from c3l.models.hf.day import DAY, fix_day, tell_day
from c3l.models.hf.encoding import ChatEncoder
from tiny_models import CHAT_TEMPLATE

PLAIN = CHAT_TEMPLATE.format(image="<image>")
# as Mistral Small 3.1 writes it, and as Llama 3.2
ASKED = "{%- set today = strftime_now('%Y-%m-%d') %}{{ bos_token }}{{ 'Today is ' + today + '. ' }}"
IF_THERE = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%-d %b %Y') %}{% endif %}{% endif %}{{ bos_token + date_string + '. ' }}"
)
IN_MACRO = "{% macro day() %}{{ strftime_now('%A %d %B, 100%%') }}{% endmacro %}{{ bos_token + day() + '. ' }}"
CASES = {ASKED: "Today is 2024-07-26. ", IF_THERE: "26 Jul 2024. ", IN_MACRO: "Friday 26 July, 100%. "}


@pytest.fixture
def another_day(monkeypatch):
    """The clock of transformers' chats says another one."""

    class Clock:
        @staticmethod
        def now():
            return DAY.replace(year=2031, month=1, day=2)

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    chat_template_utils._compile_jinja_template.cache_clear()


@pytest.mark.parametrize(("begin", "told"), CASES.items())
def test_every_prompt_is_of_the_same_day(tiny, another_day, begin, told):
    processor = copy(tiny("llava").processor)
    processor.chat_template = PLAIN.replace("{{ bos_token }}", begin)
    chat = [{"role": "user", "content": [{"type": "text", "text": "Is it?"}]}]
    assert told not in processor.apply_chat_template(chat)  # by itself it asks the clock
    encoder = ChatEncoder(processor)
    assert encoder.render(chat).startswith(f"<s>{told}user: Is it?")
    assert encoder.tokenizer.decode(encoder.encode_prompt("Is it?", None).ids).startswith(f"<s>{told}")
    assert "2024-07-26" in encoder.chats.notes[-1]
    assert processor.chat_template == PLAIN.replace("{{ bos_token }}", begin)  # what is saved with a tuned model


def test_other_templates_are_left_alone():
    assert fix_day(PLAIN) == PLAIN
    assert tell_day(PLAIN) == ""
