"""Paths: in which orders the transactions of a flow go through its stages and systems, and what is done twice."""

import streamlit as st

from controltower.dashboard import charts, data, labels, page, state
from controltower.dashboard.format import plural
from controltower.dashboard.markup import heading, title
from controltower.dashboard.parts import paths as parts
from controltower.dashboard.settings import read_settings
from controltower.store.read import Paths


def render() -> None:
    """Show the page."""
    page.shown(_build)


def _build() -> None:
    settings = read_settings()
    known = data.flows()
    seen = [flow for flow in page.loading(lambda: data.facets(settings), height=80).flows if flow in known]
    left, middle, right = st.columns([6, 2, 2], vertical_alignment="bottom")
    with left:
        page.html(
            title("Paths", "Transactions with their last step in the time range. Medians unless it says otherwise.")
        )
    if not seen:
        page.empty()
        return
    with middle:
        flow = state.choice("Flow", "flow", seen, title=lambda name: labels.flow_title(name, known))
    with right:
        days = state.days()
    found = page.loading(lambda: data.paths(settings, flow, days), height=480)
    if not found.work:
        page.nothing("No transaction in this time range", "Choose a longer one.")
        return
    _lists(found)


def _lists(found: Paths) -> None:
    titles = labels.stage_titles(data.flows())
    total = sum(variant.transactions for variant in found.variants)
    page.html(heading("Variants", f"{plural(total, 'transaction')}, by the order in which stages were first reached"))
    page.html(parts.variants(found, titles))
    left, right = st.columns(2, gap="medium")
    with left:
        page.html(heading("Stages", "reached, more than once, gone past"))
        page.html(parts.passages(found, titles))
    with right:
        page.html(heading("From stage to stage", "the most frequent"))
        page.html(parts.ways(found, titles))
    page.html(
        heading(
            "From system to system",
            "as steps followed each other; the wait is from the end of one to the start of the next",
        )
    )
    left, right = st.columns([5, 7], gap="medium")
    with left:
        if found.hops:
            page.chart(charts.hops(found.hops), key="hops")
    with right:
        page.html(parts.hops(found))
    page.html(heading("Work", "attempts, how long each takes, and what did not go through at once"))
    page.html(parts.work(found))
    page.html(heading("Done twice", "one idempotency key under which the same step took effect more than once"))
    page.html(parts.double_effects(found))
