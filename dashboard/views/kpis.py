"""KPIs: the key figures, each with its definition."""

import streamlit as st

from controltower.dashboard import data, labels, page, state
from controltower.dashboard.markup import heading, title
from controltower.dashboard.parts import kpis as parts
from controltower.dashboard.settings import read_settings

GROUPS = {
    "Now": ("in_flight", "late_now", "money_at_stake", "open_exceptions"),
    "On time": (
        "sla_attainment",
        "supplier_response_p50",
        "supplier_response_p90",
        "order_to_pay_p50",
        "invoice_to_paid_p50",
        "time_to_resolve_p50",
    ),
    "Money that adds up": (
        "auto_match_rate",
        "auto_match_rate_by_value",
        "first_pass_yield",
        "unreconciled_amount",
        "pending_amount",
    ),
    "Without extra work": (
        "exception_rate",
        "touchless_rate",
        "duplicate_rate",
        "replay_rate",
        "failed_attempt_rate",
    ),
}


def render() -> None:
    """Show the page."""
    page.shown(_build)


def _build() -> None:
    settings = read_settings()
    known = data.flows()
    flows = page.loading(lambda: data.facets(settings), height=80).flows
    left, middle, right = st.columns([6, 2, 2], vertical_alignment="bottom")
    with left:
        page.html(title("Key figures", "Computed from the spans alone, each with its definition and formula."))
    with middle:
        flow = state.choice(
            "Flow", "flow", ("", *flows), title=lambda name: labels.flow_title(name, known) if name else "All flows"
        )
    with right:
        days = state.days()
    if not flows:
        page.empty()
        return
    values = {value.name: value for value in page.loading(lambda: data.kpis(settings, flow, days), height=480)}
    for group, names in GROUPS.items():
        page.html(heading(group))
        page.html(parts.figures([values[name] for name in names]))
