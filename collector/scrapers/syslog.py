"""Syslog that is received, as a kind of source: kept in files first, and read from them as any log is."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from controltower.collector.scrapers.definition import SyslogSource
from controltower.collector.scrapers.log import LogReader
from controltower.collector.scrapers.observation import Level, Taken
from controltower.collector.scrapers.syslog_listener import Listener, address_of
from controltower.collector.scrapers.syslog_spool import PATTERN, Spool

QUEUE: Final = "syslog"  # what stands for the queue in metrics


class SyslogReader(LogReader):
    """Listens from the first look on. For one thread."""

    def __init__(self, source: SyslogSource, clock: Callable[[], int]) -> None:
        folder = Path(source.folder)
        super().__init__(source.model_copy(update={"files": source.files or (str(folder / PATTERN),)}), clock)
        self._source = source
        self._clock = clock
        self._spool: Spool | None = None
        self._listener: Listener | None = None

    def read(self) -> Taken:
        """Return what comes next of what was received. OSError when nothing can be received, or kept."""
        if self._source.listen:
            listener = self._listener or self._listening()
            if listener.failed is not None:
                raise listener.failed
        return super().read()

    def _listening(self) -> Listener:
        source = self._source
        self._spool = Spool(Path(source.folder), source.most_bytes, self._clock())
        listener = Listener([address_of(each) for each in source.listen], self._spool, _tls(source))
        listener.start()
        self._listener = listener
        return listener

    def acknowledged(self, saved: dict[str, Any]) -> None:
        """Remove the files of which all was acknowledged."""
        if self._spool is not None:
            self._spool.forget({each["path"]: each["offset"] for each in saved["generations"] if not each["gone"]})

    @property
    def levels(self) -> tuple[Level, ...]:
        """Return how many messages are known to be lost."""
        if self._listener is None:
            return ()
        return (Level("dropped", self._listener.dropped(), QUEUE),)

    @property
    def ports(self) -> list[int]:
        """The ports it listens on, in the order of the addresses."""
        return self._listener.ports if self._listener else []

    def close(self) -> None:
        """Stop listening, and close the files."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        super().close()


def _tls(source: SyslogSource) -> ssl.SSLContext | None:
    if source.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(source.certificate, source.key)
    if source.client_ca is not None:
        context.load_verify_locations(source.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
