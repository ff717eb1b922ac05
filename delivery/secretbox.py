"""Webhook secrets at rest: encrypted with a key file outside the database, so that a copy of the database
alone signs nothing."""

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

FILE = "webhook.key"


class SecretLostError(Exception):
    """The key file at hand is not the one that this secret was encrypted with."""


class SecretBox:
    """Encrypts and decrypts. The file holds one key a line: the first encrypts, all decrypt."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        if not self.path.exists():
            _make(self.path)
        self.fernet = MultiFernet([Fernet(line) for line in self.path.read_text().split()])

    def encrypt(self, secret: str) -> str:
        return self.fernet.encrypt(secret.encode()).decode()

    def decrypt(self, encrypted: str) -> str:
        try:
            return self.fernet.decrypt(encrypted.encode()).decode()
        except InvalidToken:
            raise SecretLostError(
                f"The webhook's secret cannot be read: {self.path} is not the key it was kept with. "
                "Restore that file, or make a new secret."
            ) from None


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{FILE}.{secrets.token_hex(4)}")
    with open(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(Fernet.generate_key() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        # Web and worker may both be first. A link is made whole or not at all, and by one of them only.
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
