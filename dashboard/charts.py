"""Charts of the pages: values in, a Plotly figure out, as the plain data that Plotly calls a figure; pure. Times are UTC."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from controltower.dashboard.format import duration, moment, moneys
from controltower.dashboard.journey import StageRow, StageState
from controltower.dashboard.theme import ACCENT, AMBER, BLUE, FONT, GREEN, GREY, INK, LINE, MUTED, RED
from controltower.store.read import DayCount, StageCount
from controltower.store.reads.paths import Hop
from controltower.store.rows import Deadline, DeadlineState

ROW_PX = 30
ALLOWED = "#d5e3ee"  # the time a deadline allows
STAGE_COLOURS: Mapping[StageState, str] = {
    StageState.REACHED: GREEN,
    StageState.LATE: AMBER,
    StageState.BREACHED: RED,
    StageState.WAITING: BLUE,
    StageState.SKIPPED: GREY,
    StageState.AHEAD: "#b9c2cb",
}


Chart = dict[str, object]
Trace = dict[str, object]


def in_flight(stages: Sequence[StageCount], titles: Mapping[str, str]) -> Chart:
    """Return transactions in flight by stage, in the order given: those in time, and those that are late."""
    names = [titles.get(stage.stage, stage.stage) or "No stage yet" for stage in stages]
    hints = [f"at stake: {moneys(stage.at_stake)}" for stage in stages]
    on_time = [stage.transactions - stage.late for stage in stages]
    layout = _layout(max(len(stages), 3) * ROW_PX + 60)
    return {
        "data": [
            _bar("in time", on_time, names, BLUE, hints),
            _bar("late", [stage.late for stage in stages], names, RED, hints),
        ],
        "layout": layout
        | {
            "barmode": "stack",
            "bargap": 0.35,
            "yaxis": {"autorange": "reversed", "automargin": True, "ticksuffix": "  "},
            "xaxis": {"gridcolor": LINE, "rangemode": "tozero", "tickformat": ",d", "nticks": 6},
        },
    }


def by_day(days: Sequence[DayCount]) -> Chart:
    """Return what began, was completed and was broken on each day."""
    days = every_day(days)
    dates = [day.day.isoformat() for day in days]
    return {
        "data": [
            _line("started", dates, [day.started for day in days], ACCENT, "solid"),
            _line("completed", dates, [day.completed for day in days], GREEN, "solid"),
            _line("deadlines broken", dates, [day.breached for day in days], RED, "dot"),
        ],
        "layout": _layout(290)
        | {
            "hovermode": "x unified",
            "yaxis": {"gridcolor": LINE, "rangemode": "tozero", "automargin": True, "tickformat": ",d", "nticks": 6},
            "xaxis": {"type": "date", "showgrid": False, "tickformat": "%d %b", "hoverformat": "%Y-%m-%d"},
        },
    }


def every_day(days: Sequence[DayCount]) -> list[DayCount]:
    """Return the days from the first to the last, those without an event as zeros: a line must not bridge them."""
    known = {day.day: day for day in days}
    if not known:
        return []
    first, last = min(known), max(known)
    between = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [known.get(day) or DayCount(day, 0, 0, 0) for day in between]


def timeline(stages: Sequence[StageRow], now: datetime) -> Chart:
    """Return the stages over time, each against the deadlines that it meets.

    A pale bar runs from the start of a deadline's clock to the time it is due; what is late goes on in the state's
    colour, up to the answer or to now. A point is a step.
    """
    rows = [stage for stage in stages if stage.reached or stage.deadlines]
    bars = [bar for stage in rows for deadline in stage.deadlines for bar in _bars(stage, deadline, now)]
    names = [stage.title for stage in rows]
    layout = _layout(max(len(rows), 3) * ROW_PX + 80) | {
        "barmode": "overlay",
        "bargap": 0.45,
        "showlegend": False,
        "yaxis": {
            "type": "category",
            "categoryorder": "array",
            "categoryarray": names,
            "range": [len(names) - 0.5, -0.5],
            "automargin": True,
            "ticksuffix": "  ",
        },
        "xaxis": {
            "type": "date",
            "gridcolor": LINE,
            "automargin": True,
            "title": {"text": "UTC", "standoff": 6, "font": {"color": MUTED, "size": 12}},
        },
    }
    if any(stage.state in (StageState.BREACHED, StageState.WAITING) for stage in rows):
        layout |= _now_line(now)
    return {"data": [*bars, _points(rows)], "layout": layout}


def hops(found: Sequence[Hop]) -> Chart:
    """Return which system hands on to which, each band as wide as it is often."""
    systems = sorted({name for hop in found for name in (hop.from_system, hop.to_system)})
    hints = [f"{hop.times:,} times, {duration(timedelta(seconds=hop.wait_p50))} wait in the median" for hop in found]
    band = {
        "source": [systems.index(hop.from_system) for hop in found],
        "target": [systems.index(hop.to_system) for hop in found],
        "value": [hop.times for hop in found],
        "color": ALLOWED,
        "customdata": hints,
        "hovertemplate": "%{source.label} → %{target.label}<br>%{customdata}<extra></extra>",
    }
    node = {
        "label": [_plain(name) for name in systems],
        "color": ACCENT,
        "pad": 18,
        "thickness": 12,
        "hovertemplate": "%{label}<extra></extra>",
    }
    height = max(len(systems), 3) * 2 * ROW_PX + 60
    return {"data": [{"type": "sankey", "node": node, "link": band}], "layout": _layout(height)}


def _bars(stage: StageRow, deadline: Deadline, now: datetime) -> list[Trace]:
    about = f" of {deadline.subject}" if deadline.subject else ""
    allowed = duration(deadline.due_at - deadline.from_at)
    lines = [f"{deadline.rule}{about}", f"due {moment(deadline.due_at)} UTC, within {allowed}", str(deadline.state)]
    bars = [_span(stage.title, deadline.from_at, deadline.due_at, ALLOWED, lines)]
    end = deadline.met_at or (now if deadline.state == DeadlineState.BREACHED else None)
    if end is not None and end > deadline.due_at:
        late = RED if deadline.state == DeadlineState.BREACHED else AMBER
        hint = [*lines, f"late by {duration(end - deadline.due_at)}"]
        bars.append(_span(stage.title, deadline.due_at, end, late, hint))
    return bars


def _span(row: str, start: datetime, end: datetime, colour: str, hint: Sequence[str]) -> Trace:
    return {
        "type": "bar",
        "orientation": "h",
        "base": [_time(start)],
        "x": [max((end - start) / timedelta(milliseconds=1), 1.0)],  # the length of a bar on a date axis, in ms
        "y": [row],
        "marker": {"color": colour, "line": {"width": 0}},
        "hovertemplate": "<br>".join(map(_plain, hint)) + "<extra></extra>",
    }


def _points(rows: Sequence[StageRow]) -> Trace:
    points = [(stage, member.step) for stage in rows for member in stage.reached]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [_time(step.at) for _, step in points],
        "y": [stage.title for stage, _ in points],
        "marker": {
            "size": 11,
            "color": [STAGE_COLOURS[stage.state] for stage, _ in points],
            "line": {"width": 1.5, "color": "white"},
        },
        "text": [f"{_plain(step.system)}, {moment(step.at, seconds=True)} UTC" for _, step in points],
        "hovertemplate": "%{y}<br>%{text}<extra></extra>",
    }


def _now_line(now: datetime) -> dict[str, object]:
    at = {"x0": _time(now), "x1": _time(now), "y0": 0, "y1": 1, "yref": "paper"}
    label = {"x": _time(now), "y": 1, "yref": "paper", "yanchor": "bottom", "text": "now", "showarrow": False}
    return {
        "shapes": [{"type": "line", **at, "line": {"color": MUTED, "width": 1, "dash": "dot"}}],
        "annotations": [label | {"font": {"color": MUTED}}],
    }


def _bar(name: str, values: Sequence[int], names: Sequence[str], colour: str, hints: Sequence[str]) -> Trace:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": list(values),
        "y": list(names),
        "marker": {"color": colour},
        "customdata": list(hints),
        "hovertemplate": "%{y}: %{x} " + name + "<br>%{customdata}<extra></extra>",
    }


def _line(name: str, dates: Sequence[str], values: Sequence[int], colour: str, dash: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(dates),
        "y": list(values),
        "line": {"color": colour, "width": 2, "dash": dash},
    }


def _layout(height: int) -> dict[str, object]:
    return {
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 34, "b": 30},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 13, "color": INK},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "traceorder": "normal"},
        "hoverlabel": {"bgcolor": "white", "bordercolor": LINE, "font": {"family": FONT, "size": 13, "color": INK}},
        "dragmode": False,
    }


def _time(at: datetime) -> str:
    """Return a time as Plotly reads one: it knows no zones, so this is UTC and the axis says so."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _plain(text: str) -> str:
    """Return text for a hover label, where Plotly reads a few tags and ``%{...}``: data must not become either."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("%{", "% {")
