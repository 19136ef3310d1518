"""`contact-score backup` and `contact-score restore`: copy the whole database, and fill an empty one from the copy."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from bot.cli import output
from bot.cli.run import AsJson, refusals
from bot.settings import read_settings
from storage.bootstrap import add_keys, back_up, read_keys, restore
from storage.domain.errors import Refusal

BackupFile = Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False)]


def back_up_database(
    file: BackupFile,
    with_key: Annotated[
        bool, typer.Option("--with-key", help="Also write the keys of the secrets, to FILE.key: store it elsewhere.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy the whole database into a file, while the service runs. All workspaces are in it.

    The file is the database at one instant. Secrets in it are encrypted; without their key they are lost.
    """
    with refusals():
        settings = read_settings()
        keys = read_keys(settings.database_url, secret_keys=settings.keys)
        key_file = _key_file(file)
        if with_key and not keys:
            raise Refusal("there is no key to write: CONTACT_SCORE_SECRET_KEYS is not set")
        if with_key and key_file.exists():
            raise Refusal(f"the file {key_file} exists already: name a new one")
        asyncio.run(back_up(settings.database_url, path=file, keys=keys if with_key else ()))
    size = file.stat().st_size
    if as_json:
        output.document({"file": str(file), "bytes": size, "key_file": str(key_file) if with_key else None})
        return
    output.lines(f"Wrote {file}, {size:,} bytes.")
    if with_key:
        output.lines(f"Wrote the keys of its secrets to {key_file}: store them in another place than the backup.")
    else:
        output.lines("The keys of its secrets are not in it: keep them too, or write them with --with-key.")


def restore_database(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Fill the empty database of CONTACT_SCORE_DATABASE_URL from a backup. FILE.key is used if it is there.

    Stop the service of the old database first: both would send the messages that are due.
    """
    with refusals():
        settings = read_settings()
        asyncio.run(restore(settings.database_url, path=file))
        key_file = _key_file(file)
        has_keys = key_file.exists() and not settings.keys
        has_keys = has_keys and add_keys(settings.database_url, key_file.read_text().split())
    if as_json:
        output.document({"restored": str(file), "key_restored": has_keys})
        return
    output.lines(f"Restored {file}. Check it: contact-score verify")
    if not has_keys:
        output.lines("Set CONTACT_SCORE_SECRET_KEYS to the keys of the old database: its secrets need them.")


def _key_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.key")
