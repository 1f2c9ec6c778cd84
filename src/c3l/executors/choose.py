"""The executor that the settings name."""

from c3l.executors.interface import Executor, LoadModel
from c3l.executors.local import LocalExecutor
from c3l.settings.schema import ExecutorConfig


def make_executor(config: ExecutorConfig, load: LoadModel | None = None) -> Executor:
    """Where shards are to run; nothing is started before the first is asked for.

    Args:
        config: The settings.
        load: Loads models in this process, where they are to be loaded in a way of one's own.

    Raises:
        ConfigError: If a package is missing.
    """
    if load is not None:
        return LocalExecutor(load)
    if config.name == "local":
        return LocalExecutor()
    from c3l.executors.ray import RayExecutor

    return RayExecutor(config)
