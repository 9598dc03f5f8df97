"""How the dashboard looks: Streamlit's theme, and one colour for each state, the same everywhere."""

from collections.abc import Mapping
from typing import Final

from controltower.store.rows import DeadlineState, MatchStatus, TransactionState

ACCENT: Final = "#1f5f8b"
INK: Final = "#1c2733"
MUTED: Final = "#5d6b7a"
LINE: Final = "#dfe4ea"
PAPER: Final = "#ffffff"
GROUND: Final = "#f6f8fa"

BLUE: Final = "#2f6fab"
GREEN: Final = "#2e7d4f"
LIGHT_GREEN: Final = "#6f9e52"
AMBER: Final = "#b26a00"
RED: Final = "#c0302b"
GREY: Final = "#7b8794"
VIOLET: Final = "#6b5b95"

STATE_COLOURS: Mapping[str, str] = {
    TransactionState.IN_PROGRESS: BLUE,
    TransactionState.COMPLETED: GREEN,
    TransactionState.EXCEPTION: AMBER,
    TransactionState.BREACHED: RED,
    TransactionState.STALLED: VIOLET,
    DeadlineState.RUNNING: BLUE,
    DeadlineState.AT_RISK: AMBER,
    DeadlineState.MET: GREEN,
    DeadlineState.MET_LATE: AMBER,
    DeadlineState.UNKNOWN: VIOLET,
    DeadlineState.WAIVED: GREY,
    MatchStatus.MATCHED: GREEN,
    MatchStatus.WITHIN_TOLERANCE: LIGHT_GREEN,
    MatchStatus.PARTIAL: BLUE,
    MatchStatus.PENDING: GREY,
    # what has one name in two places has one colour: breached (transaction, deadline), exception (transaction, match)
}

FONT: Final = "Source Sans, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif"

# Streamlit's own options; the font is the one it ships, so no page asks another host for anything.
THEME: Mapping[str, str] = {
    "theme.base": "light",
    "theme.primaryColor": ACCENT,
    "theme.backgroundColor": PAPER,
    "theme.secondaryBackgroundColor": GROUND,
    "theme.textColor": INK,
    "theme.linkColor": ACCENT,
    "theme.borderColor": LINE,
    "theme.baseRadius": "small",
    "theme.baseFontSize": "14",
    "theme.font": "sans-serif",
    "theme.paddingTop": "1rem",
    "theme.paddingBottom": "3rem",
}


def colour(state: str) -> str:
    """Return the colour of a state; grey for one that is not known."""
    return STATE_COLOURS.get(state, GREY)
