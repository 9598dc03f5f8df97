"""What can go wrong when the collector starts or runs, in words for its user."""

from pathlib import Path


class CollectorError(Exception):
    """Base of the collector's errors."""

    permanent = True


class SettingsError(CollectorError):
    """A setting is refused; the message names it and its value."""

    def __init__(self, variable: str, value: str, problem: str) -> None:
        self.variable = variable
        self.value = value
        super().__init__(f"{variable}={value!r} is refused: {problem}.")


class UnknownSettingError(CollectorError):
    """A variable looks like a setting and is none; its value is not told, because it may be a secret."""

    def __init__(self, variable: str, close: str) -> None:
        self.variable = variable
        super().__init__(f"{variable} is not a setting of the collector; the closest one is {close}.")


class TokensError(CollectorError):
    """The file of tokens cannot be used."""

    def __init__(self, path: Path, problem: str) -> None:
        self.path = path
        super().__init__(f"The token file {path} {problem}.")


class ListenError(CollectorError):
    """An address cannot be listened on."""

    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__(f"Cannot listen on {address}: it is taken, or not an address of this machine.")
