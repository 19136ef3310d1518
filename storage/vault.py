"""Encrypt secrets, and create private files for secrets and contacts."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from storage.domain.errors import Refusal


class CannotUnlock(Refusal):
    """The stored secrets need another key: add it to CONTACT_SCORE_SECRET_KEYS or the .key file beside the database."""


class NoKeys(CannotUnlock):
    """CONTACT_SCORE_SECRET_KEYS is not set, so secrets cannot be stored: set 32 random bytes in url-safe base64."""


class Vault:
    """Encrypt with the newest of several Fernet keys, and decrypt with any of them, so that keys can be rotated."""

    def __init__(self, keys: Sequence[str]) -> None:
        try:
            self._keys = [Fernet(key) for key in keys]
        except ValueError as exc:
            raise CannotUnlock(
                "CONTACT_SCORE_SECRET_KEYS holds no Fernet key: 44 characters of url-safe base64 are needed"
            ) from exc

    def seal(self, text: str) -> str:
        """Return *text* encrypted with the newest key; raises NoKeys."""
        return self._fernet.encrypt(text.encode()).decode()

    def unseal(self, sealed: str) -> str:
        """Return the decrypted text of *sealed*, whichever key encrypted it; raises CannotUnlock."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken as exc:
            raise CannotUnlock from exc

    def opens(self, sealed: str | None) -> bool:
        """Return whether a sealed text can be decrypted, or is missing."""
        try:
            if sealed is not None:
                self.unseal(sealed)
        except CannotUnlock:
            return False
        return True

    @property
    def _fernet(self) -> MultiFernet:
        if not self._keys:
            raise NoKeys
        return MultiFernet(self._keys)


def open_private(path: str, flags: int) -> int:
    """Open a file, as an *opener* for `open`: a file that this creates is readable by its owner only."""
    return os.open(path, flags, 0o600)


def key_file_of(database: Path) -> Path:
    """Return the path of the key file beside a SQLite database."""
    return database.with_name(database.name + ".key")


def write_keys(path: Path, keys: Sequence[str]) -> None:
    """Write keys to a file that only its owner can read."""
    with open(path, "w", opener=open_private) as file:
        file.write("".join(f"{key}\n" for key in keys))


def load_or_create_keys(database: Path) -> tuple[str, ...]:
    """Return the keys in the key file beside a SQLite database; create the file if it does not exist.

    The file is readable by its owner only.
    """
    path = key_file_of(database)
    if not path.exists():
        # Write a temporary file and link it, so that no process reads half a key and only one process creates the file.
        temporary = path.with_name(f"{path.name}-{os.getpid()}")
        with open(temporary, "w", opener=open_private) as file:
            file.write(Fernet.generate_key().decode() + "\n")
        with suppress(FileExistsError):
            os.link(temporary, path)
        temporary.unlink()
    return tuple(path.read_text().split())
