"""Charts are what the values say, in the colours of their states, and Plotly accepts them."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import plotly.graph_objects as go

from controltower.dashboard import charts
from controltower.dashboard.journey import stage_rows
from controltower.dashboard.theme import RED
from controltower.store.flows.files import load_packs
from controltower.store.read import DayCount, Member, Money, StageCount, TransactionView
from controltower.store.reads.paths import Hop
from controltower.store.rows import DeadlineState
from tests.factories import AT, FLOW, deadline, membership, step, transaction

PACK = next(flow for flow in load_packs() if flow.flow == FLOW)


def drawn(chart: charts.Chart) -> Any:
    """Return the figure that Plotly makes of a chart; it refuses a field that it does not know."""
    return go.Figure(chart)  # type: ignore[attr-defined, no-untyped-call]  # plotly carries no types


def test_in_flight_splits_each_stage_into_in_time_and_late() -> None:
    """Both parts of a bar add up to the stage's transactions."""
    stages = [StageCount(FLOW, "created", 5, 2, (Money(Decimal(10), "USD"),)), StageCount(FLOW, "paid", 3, 0, ())]

    figure = drawn(charts.in_flight(stages, {"created": "Order created"}))

    assert [tuple(bar.x) for bar in figure.data] == [(3, 3), (2, 0)]
    assert tuple(figure.data[0].y) == ("Order created", "paid")
    assert drawn(charts.in_flight([], {})).data


def test_days_without_an_event_are_zeros() -> None:
    """A line does not bridge a quiet day as if something had happened."""
    days = [DayCount(date(2026, 3, 1), 4, 1, 0), DayCount(date(2026, 3, 4), 2, 0, 1)]

    figure = drawn(charts.by_day(days))

    assert tuple(figure.data[0].x) == ("2026-03-01", "2026-03-02", "2026-03-03", "2026-03-04")
    assert tuple(figure.data[0].y) == (4, 0, 0, 2)
    assert charts.every_day([]) == []


def test_timeline_shows_time_allowed_and_time_over() -> None:
    """What is late goes on in red to now, or to the answer; a point stands for each step."""
    created = step(stage="created")
    late = deadline(due_at=AT + timedelta(days=1), state=DeadlineState.BREACHED)
    view = TransactionView(
        transaction(stages=("created",)), (Member(created, membership(created)),), (), (late,), (), (), ()
    )

    figure = drawn(charts.timeline(stage_rows(PACK, view), AT + timedelta(days=3)))

    allowed, over, points = figure.data
    assert timedelta(milliseconds=allowed.x[0]) == timedelta(days=1)
    assert timedelta(milliseconds=over.x[0]) == timedelta(days=2)
    assert over.marker.color == RED
    assert tuple(points.x) == ("2026-03-02 09:00:00.000000",)
    assert len(figure.layout.shapes) == 1


def test_text_of_the_data_is_text_in_a_label() -> None:
    """A system's name is neither a tag nor a placeholder for Plotly."""
    nasty = step(stage="created", system="<b>%{x}</b>")
    view = TransactionView(transaction(stages=("created",)), (Member(nasty, membership(nasty)),), (), (), (), (), ())

    figure = drawn(charts.timeline(stage_rows(PACK, view), AT))

    assert "<b>" not in figure.data[0].text[0]
    assert "%{" not in figure.data[0].text[0]


def test_hops_run_from_system_to_system_and_back() -> None:
    """Each band is as wide as it is often, also where two systems hand on to each other."""
    there, back = Hop("erp", "<b>edi", 5, 4, 0, 60.0, 90.0), Hop("<b>edi", "erp", 2, 2, 1, 0.0, 0.0)

    (sankey,) = drawn(charts.hops([there, back])).data

    assert tuple(sankey.node.label) == ("&lt;b>edi", "erp")
    assert (tuple(sankey.link.source), tuple(sankey.link.target)) == ((1, 0), (0, 1))
    assert tuple(sankey.link.value) == (5, 2)
    assert sankey.link.customdata[0] == "5 times, 1 min wait in the median"
