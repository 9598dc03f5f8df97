"""The journals of the collector: one for each signal, opened by its settings."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from controltower.collector.settings import PREFIX, Settings
from controltower.tracer.journal import Journal, JournalLimits, Sealing

logger = logging.getLogger(__name__)

KEY_VARIABLE: Final = f"{PREFIX}JOURNAL_KEY"


def open_journals(folder: Path, signals: Iterable[str], settings: Settings) -> dict[str, Journal]:
    """Open a journal below *folder* for each of *signals*; when one cannot be opened, none is.

    Raises SettingsError before anything is touched, JournalError, OSError.
    """
    cipher = sealing_of(settings).cipher
    limits = limits_of(settings)
    journals: dict[str, Journal] = {}
    try:
        for signal in signals:
            journals[signal] = Journal(folder / signal, limits, cipher=cipher)
    except BaseException:
        for journal in journals.values():
            journal.close()
        raise
    if cipher is not None:
        logger.info(
            "journals are encrypted with key %s; %s more can decrypt", cipher.key_ids[0], len(cipher.key_ids) - 1
        )
    return journals


def limits_of(settings: Settings) -> JournalLimits:
    """Return the bounds of each journal."""
    return JournalLimits(
        segment_bytes=settings.segment_bytes,
        segment_age_s=settings.segment_age_s,
        budget_bytes=settings.journal_bytes,
        reserve_bytes=settings.journal_reserve_bytes,
        keep_s=settings.keep_loaded_s,
        keep_bytes=settings.keep_loaded_bytes,
    )


def sealing_of(settings: Settings) -> Sealing:
    """Return how records lie on the disk: encrypted when there is a key. Raises SettingsError."""
    if not (settings.journal_key or settings.journal_key_file):
        return Sealing()
    from controltower.collector.cipher import cipher_of  # the library is loaded by those who encrypt

    return Sealing(cipher_of(settings.journal_key, settings.journal_key_file, KEY_VARIABLE))
