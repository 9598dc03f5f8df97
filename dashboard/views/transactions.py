"""Transactions: search by any key, filters, a table with the way to each one, a file."""

import streamlit as st

from controltower.dashboard import data, labels, page, state
from controltower.dashboard.format import count, plural
from controltower.dashboard.markup import heading, title
from controltower.dashboard.parts import transactions as parts
from controltower.dashboard.settings import Settings, read_settings
from controltower.dashboard.wanted import PAGE_SIZE, Wanted, read_wanted
from controltower.store.read import Facets, SearchPage
from controltower.store.rows import TransactionState


def render() -> None:
    """Show the page."""
    page.shown(_build)


def _build() -> None:
    settings = read_settings()
    page.html(title("Transactions", "Search by any number: order, invoice, receipt, shipment, payment. Times are UTC."))
    facets = page.loading(lambda: data.facets(settings), height=80)
    if not facets.flows:
        page.empty()
        return
    _filters(facets)
    wanted = read_wanted(state.parameters())
    if wanted.rule or wanted.reason:
        state.dropped(parts.narrowed(wanted.rule, wanted.reason), ("rule", "reason", "page"))
    if wanted.cause:
        state.dropped("Only what is open of one common cause", ("cause", "page"))
    found = page.loading(lambda: data.search(settings, wanted))
    if not found.total:
        _nothing(settings, wanted)
        return
    _table(settings, wanted, found)


def _filters(facets: Facets) -> None:
    known = data.flows()
    resets = ("page",)
    stages = labels.stage_names(facets.stages, known)
    first = st.columns([4, 2, 2, 2, 2], vertical_alignment="bottom")
    with first[0]:
        state.text("Number of any kind", "q", placeholder="PO-1042, INV-9, a shipment, a payment …", resets=resets)
    with first[1]:
        states = ("", *(one.value for one in TransactionState))
        state.choice("State", "state", states, title=lambda name: name or "Any state", resets=resets)
    with first[2]:
        names = labels.stage_titles(known)
        state.choice(
            "Furthest stage",
            "stage",
            ("", *stages),
            title=lambda name: names.get(name, name) if name else "Any stage",
            resets=resets,
        )
    with first[3]:
        vendors = ("", *facets.vendors)
        state.choice("Vendor", "vendor", vendors, title=lambda name: name or "Any vendor", resets=resets)
    with first[4]:
        state.days(0, resets=resets)
    second = st.columns([2, 2, 2, 2, 2, 2], vertical_alignment="bottom")
    with second[0]:
        flows = ("", *facets.flows)
        state.choice(
            "Flow",
            "flow",
            flows,
            title=lambda name: labels.flow_title(name, known) if name else "All flows",
            resets=resets,
        )
    with second[1]:
        state.text("Amount of at least", "min", placeholder="0.00", resets=resets)
    with second[2]:
        titles = parts.SORT_TITLES
        state.choice("Sort by", "sort", tuple(titles), title=titles.__getitem__, default="last_step_at", resets=resets)
    with second[3]:
        orders = {"down": "Largest or latest first", "up": "Smallest or earliest first"}
        state.choice("Order", "order", tuple(orders), title=orders.__getitem__, default="down", resets=resets)
    with second[4]:
        state.flag("Late only", "late", resets=resets)
    with second[5]:
        state.flag("Open exceptions only", "open", resets=resets)


def _nothing(settings: Settings, wanted: Wanted) -> None:
    if wanted.text and (spans := data.find(settings, wanted.text).spans):
        page.html(heading("No transaction, but spans that carry this key", "they lead to no transaction yet"))
        page.html(parts.key_spans(spans))
        return
    page.nothing(
        "No transaction fits",
        "Remove a filter, or check the number: it is looked for as a whole, in capitals or as typed.",
    )
    st.link_button("Show all transactions", "./transactions")


def _table(settings: Settings, wanted: Wanted, found: SearchPage) -> None:
    shown = state.pages(found.total, PAGE_SIZE, wanted.page)
    left, previous, following, file = st.columns([7, 1, 1, 2], vertical_alignment="center")
    with left:
        page.html(heading(plural(found.total, "transaction"), shown.text))
    with previous:
        st.button("Back", disabled=not shown.back, on_click=state.go, args=("page", shown.back), width="stretch")
    with following:
        st.button("Next", disabled=not shown.ahead, on_click=state.go, args=("page", shown.ahead), width="stretch")
    with file:
        st.download_button(
            "Download CSV",
            data=lambda: parts.csv(data.download(settings, wanted)),
            file_name="transactions.csv",
            mime="text/csv",
            on_click="ignore",
            width="stretch",
            help=f"All that fit, {count(data.DOWNLOAD_LIMIT)} at most, in this order.",
        )
    page.html(parts.rows(found.rows, data.flows(), data.now()))
