"""Processes that begin as copies of this one: torch is loaded already, which alone takes seconds."""

import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path


def fork(work: Callable[[], int | None], log: Path) -> BaseProcess:
    """A process that does the work in a session of its own, writes to the log and exits with what comes back."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=(work, log))
    process.start()
    return process


def _run(work: Callable[[], int | None], log: Path) -> None:
    os.setsid()
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = file
        code = work()
        file.flush()
        os._exit(code or 0)


def fork_together(work: Callable[[], int | None], count: int, log: Path) -> list[int | None]:
    """Exit codes of so many processes that find each other as those of ``torchrun`` and ``accelerate launch`` do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def as_rank(rank: int) -> int | None:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)  # this process may have been alone before
        ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        os.environ |= {name: str(value) for name, value in {**ranks, "MASTER_PORT": port}.items()}
        os.environ["MASTER_ADDR"] = "127.0.0.1"
        return work()

    processes = [fork(lambda rank=rank: as_rank(rank), log) for rank in range(count)]
    for process in processes:
        process.join(200)
    return [process.exitcode for process in processes]
