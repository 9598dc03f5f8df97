"""What can go wrong with redaction; no message carries a value of the telemetry."""

from pathlib import Path

from controltower.collector.errors import CollectorError


class PolicyError(CollectorError):
    """A policy is refused: every problem with its file, line and field."""

    def __init__(self, file: Path | str, problems: list[tuple[int, str, str]]) -> None:
        self.file = str(file)
        self.problems = problems  # (line, field, what is wrong)
        super().__init__("\n".join(f"{self.file}:{line}: {field}: {what}" for line, field, what in problems))


class RedactionError(CollectorError):
    """A request could not be redacted, and must therefore not be stored."""

    permanent = False
