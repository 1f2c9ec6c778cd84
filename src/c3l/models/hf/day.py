"""Chat templates that write the day: they are told the same one always, or prompts would change at midnight.

A run that goes on tomorrow asks as it asked today, and two runs of one model can be compared.
"""

from datetime import datetime

DAY = datetime(2024, 7, 26)  # what Llama 3.2's own template writes where nobody tells it the day
_NAME = "strftime_now"
# what stands for a part of a day, without what hangs on a place or a zone; %% last, which is no part of one
_PARTS = ("%-d", "%-m", "%-H", "%-I", "%-M", "%-S", *(f"%{letter}" for letter in "aAbBcdDeFHIjmMpRSTuUVwWxXyY"), "%%")


def fix_day(template: str) -> str:
    """The template, with the day in the place of what would ask the clock.

    transformers gives templates a function for that, and hands no other one on to them: so it is written before them.
    """
    if _NAME not in template:
        return template
    told = "".join(f"|replace({part!r}, {DAY.strftime(part)!r})" for part in _PARTS)
    return f"{{%- macro {_NAME}(format) -%}}{{{{ format{told} }}}}{{%- endmacro -%}}{{{{ '' }}}}{template}"


def tell_day(template: str) -> str:
    """One line for a person; empty where nothing is to be said."""
    if _NAME not in template:
        return ""
    return f"the chat template may write the day: it is told {DAY:%Y-%m-%d} always, so that no prompt changes overnight"
