"""Fork for each program that a test starts: this process has imported what they import, which takes most of their time.

Usage: python -P forker.py SOCKET MODULE …. Each byte on the socket brings the socket of a request: a line of JSON with
the arguments of a program (as for `python`), its environment and its working directory, and the files for its input,
output and errors. The answer is a line with the process id and, at the end of the program, one with its exit code.
"""

import atexit
import json
import os
import runpy
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any


def wait_for_requests(channel: socket.socket) -> None:
    """Serve each request in a forked process, until the socket is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the child processes
    while True:
        _, files, _, _ = socket.recv_fds(channel, 1, 1)
        if not files:
            return
        with socket.socket(fileno=files[0]) as request:
            if os.fork() == 0:
                channel.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                serve(request)


def serve(request: socket.socket) -> None:
    """Run one program, and answer with its process id and its exit code."""
    line, files, _, _ = socket.recv_fds(request, 1 << 16, 3)
    while not line.endswith(b"\n"):
        line += request.recv(1 << 16)
    program = os.fork()
    if program == 0:
        request.close()
        become(json.loads(line), files)
    for file in files:
        os.close(file)
    with suppress(OSError):  # the test may not wait for the end
        request.sendall(b"%d\n" % program)
    _, status = os.waitpid(program, 0)
    with suppress(OSError):
        request.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def become(request: dict[str, Any], files: Sequence[int]) -> None:
    """Replace this process's environment, directory and streams by those of the program, and run it."""
    for stream, file in enumerate(files):
        os.dup2(file, stream)
    os.closerange(3, max(files) + 1)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["folder"])
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    for output in (sys.stdout, sys.stderr):
        output.reconfigure(line_buffering=output is sys.stderr or output.isatty())  # type: ignore[union-attr]
    code = 0
    try:
        execute(*request["words"])
    except SystemExit as stopped:
        code = int(stopped.code or 0)  # the programs exit with numbers only
    except BaseException:
        traceback.print_exc()
        code = 1
    # An ordinary exit would destroy the modules one by one, and copy their memory for that, which takes as long as most
    # commands.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def execute(first: str, *words: str) -> None:
    """Run a file with its arguments or, after `-c`, the text of a program."""
    if first != "-c":
        sys.argv = [first, *words]
        runpy.run_path(first, run_name="__main__")
        return
    sys.argv = [first, *words[1:]]
    sys.modules["__main__"] = ModuleType("__main__")
    exec(words[0], vars(sys.modules["__main__"]))  # noqa: S102  # as Python does


if __name__ == "__main__":
    for name in sys.argv[2:]:
        import_module(name)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        wait_for_requests(control)
    os._exit(0)  # suppress coverage's messages at exit, which every program would print
