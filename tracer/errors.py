"""Errors of the tracer. In production only ``configure`` and the ``instrument_*`` calls raise them."""


class TracerError(Exception):
    """Base of every error that the tracer raises on purpose."""

    permanent = True


class SettingError(TracerError):
    """A setting is missing or bad; ``setting`` is its name."""

    def __init__(self, setting: str, sentence: str) -> None:
        super().__init__(f"{setting}: {sentence}")
        self.setting = setting


class MisuseError(TracerError):
    """A call was given a value that it cannot keep as it is; raised in development, counted in production."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


class MissingExtraError(TracerError):
    """A hook needs a package that is not installed."""
