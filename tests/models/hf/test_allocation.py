"""Freed memory is handed out again, where glibc hands it out and nobody said otherwise."""

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from c3l.models.hf.allocation import keep_freed_memory

def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        held = [b"x" * (12 << 20) for _ in range(8)]
        del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

count_faults()
without = count_faults()
keeps = keep_freed_memory()
count_faults()
print(keeps, without, count_faults(), "torch" in sys.modules)
"""


def run(**environment: str) -> tuple[bool, int, int]:
    """Whether it is kept, and how many pages had to be mapped without it and with it."""
    told = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=told | environment, capture_output=True, check=True)
    keeps, without, after, torch = done.stdout.decode().split()
    assert torch == "False"
    return keeps == "True", int(without), int(after)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another library hands out memory")
def test_what_is_freed_is_not_mapped_again():
    keeps, without, after = run()
    assert keeps
    assert without > 1000, "otherwise nothing has to be mended"
    assert after < without / 20


def test_who_sets_how_memory_is_handed_out_is_left_alone():
    assert not run(MALLOC_TOP_PAD_="131072")[0]
    assert not run(GLIBC_TUNABLES="glibc.malloc.trim_threshold=1000000")[0]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another library hands out memory")
def test_what_containers_set_says_nothing_of_it():
    assert run(MALLOC_ARENA_MAX="2", GLIBC_TUNABLES="glibc.cpu.x86_shstk=off")[0]
