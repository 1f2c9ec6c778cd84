"""The executor that the settings name."""

from c3l.executors.interface import Executor
from c3l.executors.local import LocalExecutor
from c3l.settings.schema import ExecutorConfig


def make_executor(config: ExecutorConfig) -> Executor:
    """Where shards are to run; nothing is started before the first is asked for.

    Raises:
        ConfigError: If a package is missing.
    """
    if config.name == "local":
        return LocalExecutor()
    from c3l.executors.ray import RayExecutor

    return RayExecutor(config)
