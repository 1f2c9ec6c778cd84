"""Processes that begin as copies of this one: torch is loaded already, which alone takes seconds."""

import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import tqdm.auto
import tqdm.std


def fork(work: Callable[[], int | None], log: Path, until: Path | None = None) -> BaseProcess:
    """A process that does the work in a group of its own, writes to the log and exits with what comes back.

    ``until`` kills it, and its group, at the first file that it opens, renames or removes after this path is there:
    who watched from outside could come too late.
    """
    process = multiprocessing.get_context("fork").Process(target=_run, args=(work, log, until))
    process.start()
    assert process.pid is not None
    with suppress(ProcessLookupError):  # it has ended already
        os.setpgid(process.pid, process.pid)  # here as well: who kills the group must not come before the child
    return process


def _kill_once_there_is(path: Path) -> None:
    name = os.fspath(path)

    def look(event: str, _: object) -> None:
        if event.startswith(("open", "os.")) and event != "os.killpg" and os.path.exists(name):
            os.killpg(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def _run(work: Callable[[], int | None], log: Path, until: Path | None) -> None:
    os.setpgid(0, 0)
    gc.freeze()  # a search for garbage would copy all that is shared with the first process
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = file
        torch.set_num_threads(1)  # threads do not survive a fork
        for bars in (tqdm.std.tqdm, tqdm.auto.tqdm):
            bars.set_lock(threading.RLock())  # theirs is shared by all forks: who is killed while it holds it stops all
        if until is not None:
            _kill_once_there_is(until)
        try:
            code = work()
        except Exception:
            traceback.print_exc()  # what is not flushed is lost
            code = 1
        file.flush()
        os._exit(code or 0)


def fork_together(work: Callable[[], int | None], count: int, log: Path, in_pieces: bool = False) -> list[int | None]:
    """Exit codes of so many processes that find each other as those of ``torchrun`` and ``accelerate launch`` do.

    ``in_pieces`` is a launch with FSDP, by which they share one model. It is accelerate's own, but for the one word by
    which it keeps FSDP to cards.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def as_rank(rank: int) -> int | None:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)  # this process may have been alone before
        ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        os.environ |= {name: str(value) for name, value in {**ranks, "MASTER_PORT": port}.items()}
        os.environ["MASTER_ADDR"] = "127.0.0.1"
        if in_pieces:
            os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
            _take_processors_for_cards()
        return work()

    processes = [fork(lambda rank=rank: as_rank(rank), log) for rank in range(count)]
    for process in processes:
        process.join(200)
    return [process.exitcode for process in processes]


def _take_processors_for_cards() -> None:
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    begin = PartialState.__init__

    def begin_on_cards(self: PartialState, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        if self.distributed_type == DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = begin_on_cards  # type: ignore[method-assign]
