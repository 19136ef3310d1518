"""Run a Python program in a process with a shifted clock: `python at_time.py NANOSECONDS PROGRAM [ARGUMENT …]`.

This file imports nothing of the program, which must read the time through the module `time`."""

import runpy
import sys
import time

read_time_ns, shift = time.time_ns, int(sys.argv[1])


def shifted_time_ns() -> int:
    """Return the shifted time in nanoseconds."""
    return read_time_ns() + shift


def shifted_time() -> float:
    """Return the shifted time in seconds."""
    return shifted_time_ns() / 1e9


time.time_ns, time.time = shifted_time_ns, shifted_time
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")
