"""Parked steps: what belongs to no transaction yet, and why."""

import streamlit as st

from controltower.dashboard import data, labels, page, state
from controltower.dashboard.format import plural
from controltower.dashboard.markup import heading, title
from controltower.dashboard.parts import parked as parts
from controltower.dashboard.settings import read_settings
from controltower.dashboard.wanted import PAGE_SIZE, read_wanted


def render() -> None:
    """Show the page."""
    page.shown(_build)


def _build() -> None:
    settings = read_settings()
    known = data.flows()
    left, middle, right = st.columns([6, 2, 2], vertical_alignment="bottom")
    with left:
        page.html(
            title("Parked steps", "They joined no transaction, and do so by themselves when the missing link arrives.")
        )
    with middle:
        flow = state.choice(
            "Flow",
            "flow",
            ("", *known),
            title=lambda name: labels.flow_title(name, known) if name else "All flows",
            resets=("page",),
        )
    with right:
        kind = state.choice("Kind", "kind", tuple(parts.TITLES), title=parts.TITLES.__getitem__, resets=("page",))
    number = read_wanted(state.parameters()).page
    found = page.loading(lambda: data.parked(settings, flow, kind, number, PAGE_SIZE))
    if not found.total:
        if not data.facets(settings).flows:
            page.empty()
            return
        page.nothing("Nothing is parked", "Every step of the chosen kind belongs to a transaction.")
        return
    shown = state.pages(found.total, PAGE_SIZE, number)
    left, previous, following = st.columns([9, 1, 1], vertical_alignment="center")
    with left:
        page.html(heading(plural(found.total, "step"), shown.text))
    with previous:
        st.button("Back", disabled=not shown.back, on_click=state.go, args=("page", shown.back), width="stretch")
    with following:
        st.button("Next", disabled=not shown.ahead, on_click=state.go, args=("page", shown.ahead), width="stretch")
    page.html(parts.rows(found.rows, known))
