"""The state of a page is its address: widgets start from the parameters and write back to them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import streamlit as st


class Pages(NamedTuple):
    """Where a page stands: in words, and the numbers of the pages before and after it, empty when there is none."""

    text: str
    back: str
    ahead: str


RANGES: Mapping[int, str] = {
    7: "Last 7 days",
    30: "Last 30 days",
    90: "Last 90 days",
    365: "Last 12 months",
    0: "Any time",
}
DEFAULT_RANGE = 90


def parameters() -> dict[str, str]:
    """Return the parameters of the page's address."""
    return {name: st.query_params[name] for name in st.query_params}


def choice(
    label: str,
    name: str,
    options: Sequence[str],
    *,
    title: Callable[[str], str] = str,
    default: str = "",
    resets: Sequence[str] = (),
) -> str:
    """Show a select box for the parameter *name* and return its value; a value that is no option stands for the default.

    *resets* are parameters that make no sense any more once this one changes, such as the page number.
    """
    current = st.query_params.get(name, default)
    offered = list(options)
    st.session_state[_widget(name)] = current if current in offered else default
    st.selectbox(
        label, offered, key=_widget(name), format_func=title, on_change=_keep, args=(name, default, tuple(resets))
    )
    return str(st.session_state[_widget(name)])


def segments(label: str, name: str, options: Mapping[str, str], *, default: str) -> str:
    """Show the parts of a page side by side for the parameter *name* and return the chosen one."""
    current = st.query_params.get(name, default)
    st.session_state[_widget(name)] = current if current in options else default
    st.segmented_control(
        label,
        list(options),
        key=_widget(name),
        format_func=lambda option: options[option],
        label_visibility="collapsed",
        required=True,
        on_change=_keep,
        args=(name, default, ()),
    )
    return str(st.session_state[_widget(name)] or default)


def text(label: str, name: str, *, placeholder: str = "", resets: Sequence[str] = ()) -> str:
    """Show a text field for the parameter *name* and return its value."""
    st.session_state[_widget(name)] = st.query_params.get(name, "")
    st.text_input(label, key=_widget(name), placeholder=placeholder, on_change=_keep, args=(name, "", tuple(resets)))
    return str(st.session_state[_widget(name)]).strip()


def flag(label: str, name: str, *, resets: Sequence[str] = ()) -> bool:
    """Show a switch for the parameter *name* (``1`` when on) and return its value."""
    st.session_state[_widget(name)] = st.query_params.get(name) == "1"
    st.toggle(label, key=_widget(name), on_change=_keep, args=(name, "", tuple(resets)))
    return bool(st.session_state[_widget(name)])


def days(default: int = DEFAULT_RANGE, *, resets: Sequence[str] = ()) -> int:
    """Show the time range and return how many days it is; 0 is any time."""
    options = [str(number) for number in RANGES]
    chosen = choice(
        "Time range", "days", options, title=lambda option: RANGES[int(option)], default=str(default), resets=resets
    )
    return int(chosen)


def dropped(label: str, names: Sequence[str]) -> None:
    """Show a filter that came with the address and has no field; a click takes it away."""
    st.button(f"{label}  ✕", key="dropped", type="tertiary", on_click=drop, args=(tuple(names),), help="Show all again")


def drop(names: Sequence[str]) -> None:
    """Remove parameters from the address; for the callback of a button."""
    for name in names:
        if name in st.query_params:
            del st.query_params[name]


def go(name: str, value: str) -> None:
    """Set one parameter of the address; for the callback of a button."""
    st.query_params[name] = value


def pages(total: int, size: int, page: int) -> Pages:
    """Return where a page of *size* rows stands among *total*."""
    first = (page - 1) * size + 1
    last = min(page * size, total)
    if first > total:
        return Pages(f"page {page} is past the end", "1", "")
    ahead = str(page + 1) if last < total else ""
    return Pages(f"{first:,} to {last:,}", str(page - 1) if page > 1 else "", ahead)


def _widget(name: str) -> str:
    return f"widget_{name}"


def _keep(name: str, default: str, resets: tuple[str, ...]) -> None:
    value = st.session_state[_widget(name)]
    written = "1" if value is True else "" if value in (False, None) else str(value).strip()
    for stale in (name, *resets):
        if stale in st.query_params:
            del st.query_params[stale]
    if written != default:
        st.query_params[name] = written
