"""Which exceptions are told, and which are more important than others."""

from dataclasses import dataclass

from controltower.store.rows import SEVERITIES, ExceptionRow


def severity_rank(severity: str) -> int:
    """Return how important *severity* is; larger is more important. An unknown word counts as a warning."""
    return SEVERITIES.index(severity if severity in SEVERITIES else "warning")


@dataclass(frozen=True, slots=True)
class Rule:
    """Selects exceptions; an empty selection selects everything."""

    min_severity: str = SEVERITIES[0]
    kinds: frozenset[str] = frozenset()
    flows: frozenset[str] = frozenset()

    def selects(self, row: ExceptionRow) -> bool:
        """Whether *row* is to be told."""
        return (
            severity_rank(row.severity) >= severity_rank(self.min_severity)
            and (not self.kinds or row.kind in self.kinds)
            and (not self.flows or row.flow in self.flows)
        )
