"""Settings that every command shares: the data folder and the store's address. Argument, then environment, then default."""

import os
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platformdirs import user_data_dir

from controltower.cli.errors import SettingError
from controltower.store.address import StoreAddress, embedded_address, parse_address
from controltower.store.errors import AddressError

DATA_VARIABLE: Final = "CONTROLTOWER_DATA"
STORE_VARIABLE: Final = "CONTROLTOWER_STORE"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a command works on.

    data
        Data folder (``--data``, ``CONTROLTOWER_DATA``); default: ``controltower`` in the platform's user-data folder.
    store
        Address of the store as given (``--store``, ``CONTROLTOWER_STORE``); nothing stands for the embedded engine
        over the folder ``store`` of the data folder.
    """

    data: Path
    store: str | None = None

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
    settings = Settings(data, getattr(arguments, "store", None) or environment.get(STORE_VARIABLE) or None)
    try:
        settings.address  # noqa: B018 - refuses a bad address before anything starts
    except AddressError as exc:
        source = "--store" if getattr(arguments, "store", None) else STORE_VARIABLE
        raise SettingError(f"{source}: {exc}") from exc
    return settings


def needs_server(settings: Settings, command: str) -> Settings:
    """Return the settings when they name a ClickHouse server, which parts that run alone need."""
    if settings.address.embedded:
        raise SettingError(
            f"`controltower {command}` needs a ClickHouse server, named by --store or {STORE_VARIABLE}; "
            "over the embedded store, `controltower serve` runs all parts in one process."
        )
    return settings
