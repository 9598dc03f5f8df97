"""Overview: what is in flight, late and at stake, what breaks, and how fresh the data is."""

import streamlit as st

from controltower.dashboard import charts, data, labels, page, state
from controltower.dashboard.data import OverviewData
from controltower.dashboard.markup import heading, title
from controltower.dashboard.parts import collectors
from controltower.dashboard.parts import overview as parts
from controltower.dashboard.settings import read_settings

REFRESH = "15s"  # the page follows live traffic; a read costs a few milliseconds


def render() -> None:
    """Show the page."""
    page.shown(_build)


def _build() -> None:
    settings = read_settings()
    known = data.flows()
    left, middle, right = st.columns([6, 2, 2], vertical_alignment="bottom")
    with left:
        page.html(title("Overview", "What is open is shown as of now, whatever the time range. Times are UTC."))
    with middle:
        flow = state.choice(
            "Flow",
            "flow",
            ("", *data.facets(settings).flows),
            title=lambda name: labels.flow_title(name, known) if name else "All flows",
        )
    with right:
        days = state.days()

    def body() -> None:
        page.shown(lambda: _figures(page.loading(lambda: data.overview(settings, flow, days)), flow, days))

    st.fragment(body, run_every=REFRESH)()


def _figures(found: OverviewData, flow: str, days: int) -> None:
    if not found.overview.states and not found.freshness:
        page.empty()
        return
    page.html(parts.figures(found, flow, state.RANGES[days]))
    if found.causes:
        page.html(heading("Common causes", "what several open exceptions share, the most expensive first"))
        page.html(parts.causes(found.causes, found.at))
    left, right = st.columns([5, 7], gap="medium")
    with left:
        page.html(heading("Where transactions stand", "in flight, by the furthest stage reached"))
        stages = labels.ordered_stages(found.overview.stages, data.flows())
        page.chart(charts.in_flight(stages, labels.stage_titles(data.flows())), key="in_flight")
    with right:
        page.html(heading("Deadlines by rule", "open now, the most broken first"))
        page.html(parts.rules(found.overview.breaches, found.at, lambda name: labels.flow_title(name, data.flows())))
    left, right = st.columns([5, 7], gap="medium")
    with left:
        page.html(heading("By day", "UTC"))
        page.chart(charts.by_day(found.overview.days), key="by_day")
    with right:
        page.html(heading("Open exceptions by reason"))
        page.html(parts.reasons(found.overview.exceptions, found.at, flow))
    page.html(heading("Freshness of the data", "when each system was last heard of, the most silent first"))
    page.html(parts.freshness(found.freshness, found.at))
    page.html(heading("Collectors", "as they last said, every ten seconds"))
    page.html(collectors.states(found.collectors, found.at))
    if found.refusals:
        page.html(heading("Refused by the collectors", "in the last 24 hours"))
        page.html(collectors.refusals(found.refusals, found.at))
