"""What can go wrong in alerting, in words for its user."""


class AlertError(Exception):
    """Base of the package's errors. ``permanent`` says that trying the same again cannot help."""

    permanent = True


class AlertSettingsError(AlertError):
    """A setting is refused. Names the setting; shows its value only where that is no secret."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} {why}")
        self.name = name


class SecretError(AlertError):
    """A signing secret cannot be used; the message never holds it."""


class OutboundError(AlertError):
    """A request did not get an answer; trying again may help. The message holds no address with its secrets."""

    permanent = False


class RefusedAddressError(OutboundError):
    """The address is one that notifications may not go to. What it resolves to, or what is allowed, may change."""
