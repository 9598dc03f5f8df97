"""Settings of the dashboard, read once from the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platformdirs import user_data_dir

DATA_VARIABLE: Final = "CONTROLTOWER_DATA"
STORE_VARIABLE: Final = "CONTROLTOWER_STORE"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the dashboard shows.

    data
        Data folder (``CONTROLTOWER_DATA``); default: ``controltower`` in the platform's user-data folder.
    store
        Address of the store (``CONTROLTOWER_STORE``); nothing stands for the embedded engine in the data folder.
    """

    data: Path
    store: str | None = None


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; what is wrong with the address shows when the store is opened."""
    data = environment.get(DATA_VARIABLE) or user_data_dir("controltower")
    return Settings(Path(data).expanduser().absolute(), environment.get(STORE_VARIABLE) or None)
