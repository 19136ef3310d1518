"""Run `contact-score` commands quickly: this process imports the program once and forks for each command.

Usage: python forker.py SOCKET. Each byte on the socket brings the socket of a request: a line of JSON with the
arguments, the environment and the working directory of a command, and the files for its output and its errors. The
answer is the exit code.
"""

import atexit
import json
import os
import signal
import socket
import sys
import traceback
from importlib import import_module
from typing import Any

import bot.service  # noqa: F401  # which `serve` would do
import storage.db.models  # noqa: F401  # which opening a database would do
from bot.__main__ import main
from bot.cli import COMMANDS

for command in COMMANDS.values():  # so that they are loaded, which running them would do
    import_module(command.place.partition(":")[0])


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
    """Run one command and answer with its exit code."""
    line, files, _, _ = socket.recv_fds(request, 1 << 16, 2)
    while not line.endswith(b"\n"):
        line += request.recv(1 << 16)
    command = os.fork()
    if command == 0:
        request.close()
        become(json.loads(line), *files)
    _, status = os.waitpid(command, 0)
    request.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def become(request: dict[str, Any], out: int, err: int) -> None:
    """Replace this process's arguments, environment, directory and streams by those of the command, and run it."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, max(out, err) + 1)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["folder"])
    sys.argv = ["contact-score", *request["words"]]
    code = 0
    try:
        main()
    except SystemExit as stopped:
        code = int(stopped.code or 0)  # the program exits with numbers only
    except BaseException:
        traceback.print_exc()
        code = 1
    # An ordinary exit would destroy the modules one by one, and copy their memory for that, which takes as long as most
    # commands.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as control:
        wait_for_requests(control)
    os._exit(0)  # suppress coverage's messages at exit, which every command would print
