"""Settings that every command shares: the data folder and the store's address. Argument, then environment, then default."""

import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from platformdirs import user_data_dir

from controltower.cli.errors import SettingError
from controltower.store.address import StoreAddress, embedded_address, parse_address
from controltower.store.errors import AddressError

DATA_VARIABLE: Final = "CONTROLTOWER_DATA"
STORE_VARIABLE: Final = "CONTROLTOWER_STORE"
ADDRESS_BYTES: Final = 4_096  # an address is a line; what is more is the wrong file


@dataclass(frozen=True, slots=True)
class Settings:
    """What a command works on.

    data
        Data folder (``--data``, ``CONTROLTOWER_DATA``); default: ``controltower`` in the platform's user-data folder.
    store
        Address of the store as given (``--store``, ``CONTROLTOWER_STORE`` or ``CONTROLTOWER_STORE_FILE``); nothing stands for the embedded engine
        over the folder ``store`` of the data folder.
    """

    data: Path
    store: str | None = field(default=None, repr=False)  # it may hold a password

    @property
    def address(self) -> StoreAddress:
        """The store's address, the default included."""
        return parse_address(self.store) if self.store else embedded_address(self.data / "store")


def read_settings(arguments: Namespace, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the shared settings. Raises SettingError that names the setting with the bad value."""
    data_text = getattr(arguments, "data", None) or environment.get(DATA_VARIABLE) or user_data_dir("controltower")
    data = Path(data_text).expanduser().absolute()
    if data.exists() and not data.is_dir():
        raise SettingError(f"The data folder {data} is not a folder; choose another with --data or {DATA_VARIABLE}.")
    settings = Settings(data, getattr(arguments, "store", None) or _store_of(environment))
    try:
        settings.address  # noqa: B018 - refuses a bad address before anything starts
    except AddressError as exc:
        source = "--store" if getattr(arguments, "store", None) else _store_variable(environment)
        raise SettingError(f"{source}: {exc}") from exc
    return settings


def store_variables(settings: Settings) -> dict[str, str]:
    """Return the variables that give a child process this store: not an argument, which everybody can read."""
    return {STORE_VARIABLE: settings.store, f"{STORE_VARIABLE}_FILE": ""} if settings.store else {}


def _store_variable(environment: Mapping[str, str]) -> str:
    """Return the variable that names the store, the one of the file when that is set."""
    return f"{STORE_VARIABLE}_FILE" if environment.get(f"{STORE_VARIABLE}_FILE") else STORE_VARIABLE


def _store_of(environment: Mapping[str, str]) -> str | None:
    """Return the store's address, which may hold a password and then had better stand in a file."""
    given, file = environment.get(STORE_VARIABLE, ""), environment.get(f"{STORE_VARIABLE}_FILE", "")
    if given and file:
        raise SettingError(f"{STORE_VARIABLE} and {STORE_VARIABLE}_FILE are both set; keep one of them.")
    if not file:
        return given or None
    try:
        with Path(file).open("rb") as opened:
            return opened.read(ADDRESS_BYTES).decode().strip() or None
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise SettingError(f"{STORE_VARIABLE}_FILE names {file}, which cannot be read: {why}.") from None


def needs_server(settings: Settings, command: str) -> Settings:
    """Return the settings when they name a ClickHouse server, which parts that run alone need."""
    if settings.address.embedded:
        raise SettingError(
            f"`controltower {command}` needs a ClickHouse server, named by --store or {STORE_VARIABLE}; "
            "over the embedded store, `controltower serve` runs all parts in one process."
        )
    return settings
