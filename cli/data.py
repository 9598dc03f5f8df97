"""The data folder: where things are in it, and the ingest token for senders on this machine."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controltower.cli.errors import CommandError
from controltower.collector.auth import Tokens, create_token
from controltower.collector.errors import TokensError

LOCAL_TOKEN: Final = "local"  # noqa: S105 - the name of a token
PRIVATE_FOLDER: Final = 0o700
PRIVATE_FILE: Final = 0o600


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths inside the data folder."""

    root: Path

    @property
    def journals(self) -> Path:
        """A journal for each signal: acknowledged requests that are not loaded yet."""
        return self.root / "journal"

    @property
    def logs(self) -> Path:
        """Logs of the processes, and the details of unexpected errors."""
        return self.root / "logs"

    @property
    def temporary(self) -> Path:
        """Files that are there for a moment: the rows of an insert into the embedded engine lie in one."""
        return self.root / "temporary"

    @property
    def tokens(self) -> Path:
        """Hashes of the ingest tokens."""
        return self.root / "tokens.json"

    @property
    def local_token(self) -> Path:
        """The one token that is kept in clear text, for senders on this machine; readable by its owner only."""
        return self.root / "ingest-token"

    def make(self) -> None:
        """Make the folder for its owner only. Raises CommandError when it cannot be made or written."""
        for folder in (self.root, self.logs):
            try:
                folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            except OSError as exc:
                raise CommandError(
                    f"The data folder {folder} cannot be made: {exc.strerror}; choose another with --data."
                ) from exc
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise CommandError(f"The data folder {self.root} cannot be written; choose another with --data.")

    def own_temporary(self) -> None:
        """Put this process's temporary files into the data folder, and remove what one that was killed left there.

        Only for the process that holds the journals: another one's files would go. Raises CommandError when it cannot.
        """
        try:
            if self.temporary.exists():
                shutil.rmtree(self.temporary)
            self.temporary.mkdir(mode=PRIVATE_FOLDER)
        except OSError as exc:
            raise CommandError(f"The folder {self.temporary} cannot be made anew: {exc.strerror}.") from exc
        tempfile.tempdir = str(self.temporary.resolve())


def local_token(folder: DataFolder) -> str:
    """Return the token for senders on this machine, making one at the first start.

    Called by the one process that holds the journal, so two never make one at the same time.
    """
    try:
        token = folder.local_token.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        token = ""
    if token and folder.tokens.exists() and Tokens(folder.tokens).sender(f"Bearer {token}") is not None:
        return token
    folder.make()
    try:
        token = create_token(folder.tokens, LOCAL_TOKEN)
    except OSError as exc:
        raise TokensError(folder.tokens, f"cannot be written ({exc.strerror})") from exc
    descriptor = os.open(folder.local_token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(token + "\n")
    return token
