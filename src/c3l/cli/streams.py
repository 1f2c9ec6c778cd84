"""The streams that a command writes to, whatever they are."""

import os
import sys
from io import TextIOWrapper


def settle_streams() -> None:
    """Let no text fail for the terminal: a closed stderr takes all, and stdout escapes what its encoding lacks."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
