"""A setting as it was given, with the name of the argument or the variable that gave it, so that a refusal names that."""

from collections.abc import Mapping
from dataclasses import dataclass

from controltower.tracer.errors import SettingError

Environment = Mapping[str, str]
MILLISECONDS = ("OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_EXPORT_TIMEOUT")  # the others of OpenTelemetry's are in seconds


@dataclass(frozen=True, slots=True)
class Given:
    """One value and its giver."""

    value: object
    name: str

    def refused(self, sentence: str) -> SettingError:
        """Return the error that says what to give instead; it never holds the value, which may be a secret."""
        return SettingError(self.name, sentence)

    def text(self) -> str:
        """Return the value as text."""
        if not isinstance(self.value, str):
            raise self.refused("give a string")
        return self.value

    def choice(self, *allowed: str) -> str:
        """Return one of *allowed*."""
        text = self.text().strip().lower()
        if text not in allowed:
            raise self.refused(f"give {' or '.join(allowed)}")
        return text

    def whole(self, smallest: int) -> int:
        """Return a whole number of at least *smallest*."""
        try:
            if not isinstance(self.value, (int, str)) or isinstance(self.value, bool):
                raise TypeError
            number = int(self.value)
        except (TypeError, ValueError):
            number = smallest - 1
        if number < smallest:
            raise self.refused(f"give a whole number, {smallest} or more")
        return number

    def seconds(self) -> float:
        """Return a duration; variables that OpenTelemetry defines in milliseconds are read as such."""
        unit, name = (1000, "milliseconds") if self.name in MILLISECONDS else (1, "seconds")
        try:
            if not isinstance(self.value, (int, float, str)) or isinstance(self.value, bool):
                raise TypeError
            number = float(self.value) / unit
        except (TypeError, ValueError, OverflowError):
            number = 0.0
        if not 0 < number <= 3600:
            raise self.refused(f"give {name}, more than 0 and at most {3600 * unit}")
        return number


def given(name: str, argument: object, environment: Environment, *variables: str) -> Given | None:
    """Return the argument, or the first variable that is set: ``CONTROLTOWER_<NAME>``, then *variables*."""
    if argument is not None:
        return Given(argument, name)
    names = (f"CONTROLTOWER_{name.upper()}", *variables)
    return next((Given(environment[each], each) for each in names if environment.get(each, "").strip()), None)
