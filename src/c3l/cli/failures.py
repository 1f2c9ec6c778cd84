"""What a person reads about an error: one line, and the exit code."""

import sys

from c3l.cli.options import BAD_SETTINGS, FAILED, TOO_MANY_REJECTED
from c3l.errors import C3LError, ConfigError, StaleStageError, TooManyRejectedError, find_remedy, name_error

_OWN = "c3l"


def tell(error: Exception) -> int:
    """Print an error as one line; returns the exit code."""
    from c3l.progress import printable

    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    print(printable(f"c3l: {_explain(error)}{notes}"), file=sys.stderr)
    if isinstance(error, TooManyRejectedError):
        return TOO_MANY_REJECTED
    return BAD_SETTINGS if isinstance(error, (ConfigError, StaleStageError)) else FAILED


def _explain(error: Exception) -> str:
    """Our own words as they are; of others' errors what they say, and what to do where that is known."""
    if isinstance(error, C3LError):
        return str(error) or type(error).__name__
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != _OWN:
        return (
            f"the package {error.name.partition('.')[0]} is missing, which c3l needs: install c3l again with all that "
            "it needs (pip install --force-reinstall c3l), in the same Python that runs it"
        )
    if remedy := find_remedy(error):
        return f"{name_error(error)}; {remedy}"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"cannot use {error.filename}: {error.strerror}; look at its permissions; --debug shows where"
    return f"{type(error).__name__}: {str(error) or 'no message'}; --debug shows where"
