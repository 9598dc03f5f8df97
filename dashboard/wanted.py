"""Which transactions a page is about, as its address says it; pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import cast, get_args

from controltower.store.read import SearchFilters, Sort
from controltower.store.rows import TransactionState

PAGE_SIZE = 50
LAST_PAGE = 10_000  # deeper than anybody turns pages; the store's own limit is higher
SORTS: tuple[str, ...] = get_args(Sort)
LARGEST = Decimal(10) ** 30  # what the store's decimals hold


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to look for; an empty field does not filter."""

    text: str = ""
    flow: str = ""
    state: str = ""
    stage: str = ""
    vendor: str = ""
    days: int = 0  # last step within so many days
    min_amount: Decimal | None = None
    late: bool = False
    open: bool = False  # with an open exception
    rule: str = ""  # of that exception
    reason: str = ""
    cause: str = ""  # by the key of its alert
    sort: str = "last_step_at"
    descending: bool = True
    page: int = 1

    @property
    def filtered(self) -> bool:
        """Whether anything narrows the result."""
        return self != Wanted(sort=self.sort, descending=self.descending, page=self.page)

    def filters(self, at: datetime, *, size: int = PAGE_SIZE, page: int | None = None) -> SearchFilters:
        """Return the read's filters as of *at*; a state or an order that does not exist is left out."""
        known = {state.value: state for state in TransactionState}
        return SearchFilters(
            text=self.text,
            flow=self.flow,
            states=(known[self.state],) if self.state in known else (),
            stage=self.stage,
            context={"vendor": self.vendor} if self.vendor else {},
            since=at - timedelta(days=self.days) if self.days else None,
            min_amount=self.min_amount,
            late_only=self.late,
            open_only=self.open,
            rule=self.rule,
            reason=self.reason,
            cause=self.cause,
            sort=cast("Sort", self.sort) if self.sort in SORTS else "last_step_at",
            descending=self.descending,
            limit=size,
            offset=((page or self.page) - 1) * size,
        )


def read_wanted(parameters: Mapping[str, str]) -> Wanted:
    """Return what the parameters of an address ask for; what makes no sense there is ignored."""
    return Wanted(
        text=parameters.get("q", "").strip(),
        flow=parameters.get("flow", ""),
        state=parameters.get("state", ""),
        stage=parameters.get("stage", ""),
        vendor=parameters.get("vendor", ""),
        days=whole(parameters.get("days", ""), 0, 36_500) or 0,
        min_amount=amount(parameters.get("min", "")),
        late=parameters.get("late") == "1",
        open=parameters.get("open") == "1",
        rule=parameters.get("rule", ""),
        reason=parameters.get("reason", ""),
        cause=parameters.get("cause", ""),
        sort=parameters.get("sort", "last_step_at"),
        descending=parameters.get("order") != "up",
        page=whole(parameters.get("page", ""), 1, LAST_PAGE) or 1,
    )


def whole(text: str, smallest: int, largest: int) -> int | None:
    """Return the whole number in *text* when it is one between the two."""
    try:
        number = int(text)
    except ValueError:
        return None
    return number if smallest <= number <= largest else None


def amount(text: str) -> Decimal | None:
    """Return the amount in *text* (``1250``, ``1,250.00``); None when it is none that the store can hold."""
    try:
        number = Decimal(text.replace(",", "").replace("$", "").strip())
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) < LARGEST else None
