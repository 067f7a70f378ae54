import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
from torchmoments.lab.process import keep_memory
keep_memory()
import numpy as np

def pages():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1])

block = np.ones(2**23)
held = pages()
del block
print(held - pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc of glibc")
def test_memory_is_kept_for_the_next_step_unless_the_environment_says_how():
    def given_back(**settings):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment | settings, capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    pages_of_the_block = 2**26 // os.sysconf("SC_PAGE_SIZE")
    assert given_back() < 0.1 * pages_of_the_block
    assert given_back(MALLOC_ARENA_TEST="8") > 0.9 * pages_of_the_block
