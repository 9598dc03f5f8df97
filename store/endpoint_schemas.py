"""Schemas of messages that come with a request.

Given a schema as text, the embedded engine writes it to a file below the process's working directory and leaves it
there. So it is given a file of ours instead, in a folder of ours, of which there are only so many.
"""

import hashlib
import re
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from controltower.store.endpoint_errors import ACCESS_DENIED, BAD_ARGUMENTS, EndpointError
from controltower.store.endpoint_settings import SCHEMA, SCHEMA_SOURCE

MOST_SCHEMAS: Final = 32  # a program has a handful
LARGEST_SCHEMA: Final = 256 * 1024
_LOOKS_ELSEWHERE: Final = re.compile(r"\b(import|embed)\b")  # both read another file
_IS_PROTOBUF: Final = re.compile(r"\bmessage\s+\w+\s*\{")


class Schemas:
    """The files of schemas that requests brought; thread-safe."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._files: dict[str, Path] = {}
        self._lock = threading.Lock()

    def as_files(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return *settings* with a schema's text replaced by its file. Raises EndpointError for one that is not taken."""
        taken = {name: value for name, value in settings.items() if name not in (SCHEMA, SCHEMA_SOURCE)}
        text = settings.get(SCHEMA, "")
        return {**taken, SCHEMA_SOURCE: "file", SCHEMA: str(self._file(text))} if text else taken

    def close(self) -> None:
        """Remove the files. Can be called twice."""
        with self._lock:
            folder, self._folder = self._folder, None
            self._files.clear()
        if folder is not None:
            folder.cleanup()

    def _file(self, text: str) -> Path:
        if len(text) > LARGEST_SCHEMA or not _IS_PROTOBUF.search(text):
            raise EndpointError(BAD_ARGUMENTS, f"{SCHEMA} must be the text of a Protobuf schema")
        if _LOOKS_ELSEWHERE.search(text):
            raise EndpointError(ACCESS_DENIED, "Not enough privileges. A schema cannot name other files here")
        digest = hashlib.sha256(text.encode()).hexdigest()
        with self._lock:
            file = self._files.pop(digest, None) or self._written(digest, text)
            self._files[digest] = file  # the last one is the one used last
            while len(self._files) > MOST_SCHEMAS:
                self._files.pop(next(iter(self._files))).unlink(missing_ok=True)
            return file

    def _written(self, digest: str, text: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="controltower-schemas-")
        file = Path(self._folder.name) / f"{digest}.proto"
        file.write_text(text, encoding="utf-8")
        return file
