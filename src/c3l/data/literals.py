"""Lists and objects that tables hold as text, as Python or JSON writes them."""

import ast
import json
from typing import Any

_LONGEST = 10_000


def read_literal(text: str) -> Any:
    """What a text spells, as Python writes it or else as JSON does; None if it is another text, or too long."""
    text = text.strip()
    if len(text) >= _LONGEST:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        pass
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
