"""Every error that c3l raises on purpose; each message says what was got, what was expected, what to do."""


class C3LError(Exception):
    """Base of all deliberate errors; the command line prints its message as one line, without a traceback."""


class ConfigError(C3LError):
    """A setting is unknown, missing or out of range."""


class DataError(C3LError):
    """A file or row that the user supplied cannot be used as it is."""


class TooManyRejectedError(DataError):
    """So much of what the user supplied cannot be used that going on would be for nothing."""


class BackendError(C3LError):
    """A model cannot be loaded, or its backend cannot do what was asked."""


class OutOfMemoryError(BackendError):
    """A batch did not fit; the caller may try again with a smaller one."""


class StaleStageError(C3LError):
    """A stage's files were made with other settings than the ones asked for now."""


class RunLockedError(C3LError):
    """Another process is writing to the same run folder."""


class StorageError(C3LError):
    """A file of the run folder cannot be written, or holds something that c3l did not write."""
