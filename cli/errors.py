"""What the command says when it cannot do what was asked."""


class CommandError(Exception):
    """Base of the command's errors: the message is one sentence for the user and says what to do."""


class SettingError(CommandError):
    """A setting has a bad value; the message names the setting and the value."""


class UnknownKeyError(CommandError):
    """Nothing carries the key that was asked for."""

    def __init__(self, key: str, detail: str = "") -> None:
        self.key = key
        super().__init__(f"Nothing carries the key {key!r}{detail}; check its spelling or try `controltower search`.")
