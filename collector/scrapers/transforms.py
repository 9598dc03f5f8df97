"""Small changes of a value on its way from a record to a step: trimmed, without leading zeros, a decimal, a code mapped."""

from collections.abc import Callable, Iterable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from controltower.collector.redaction.linear import ExpressionError, expression
from controltower.collector.scrapers.errors import Rejection
from controltower.collector.scrapers.grok import expanded
from controltower.collector.scrapers.times import Clock, check_form, rfc3339, time_reader, zone_of
from controltower.tracer.values import MAX_DIGITS, MAX_PLACES

Change = Callable[[str], str]

LONGEST_EXPRESSION: Final = 4_000
MOST_CODES: Final = 10_000  # of a map; an X12 code list has hundreds
LONGEST_NUMBER: Final = 64  # characters; longer ones are no amount, and Decimal would work on them for long


class Model(BaseModel):
    """Strict and frozen: an unknown field is a mistake, not a comment."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def check_expression(text: str) -> str:
    """Return *text*, its patterns written out, when it is a regular expression of RE2; ValueError says what is wrong."""
    text = expanded(text)
    try:
        expression(text)
    except ExpressionError as exc:
        raise ValueError(f"is not a regular expression of RE2: {exc}") from None
    return text


def check_zone(name: str) -> str:
    """Return *name* when it is a time zone."""
    zone_of(name)
    return name


ExpressionField = Annotated[str, Field(min_length=1, max_length=LONGEST_EXPRESSION), AfterValidator(check_expression)]
ZoneField = Annotated[str, AfterValidator(check_zone)]
FormField = Annotated[str, Field(min_length=1, max_length=80), AfterValidator(check_form)]


class Strip(Model):
    """Take these characters off both ends."""

    strip: Annotated[str, Field(min_length=1, max_length=40)]


class Cut(Model):
    """Keep the characters from ``from`` up to ``to``, counted from 0."""

    cut: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)] | None]


class Prefix(Model):
    """Put something in front."""

    prefix: Annotated[str, Field(min_length=1, max_length=80)]


class Find(Model):
    """Keep what the expression finds: its first group, or all of it."""

    find: ExpressionField


class Codes(Model):
    """Replace a code by another; ``else`` is for all others, and without it they are refused."""

    map: Annotated[dict[str, str], Field(min_length=1, max_length=MOST_CODES)]
    otherwise: Annotated[str | None, Field(alias="else")] = None


class Places(Model):
    """A decimal whose point is implied: so many digits stand behind it."""

    places: Annotated[int, Field(ge=0, le=12)]


class Decimals(Model):
    """A decimal as people write it: with thousands, another point, a minus behind it."""

    thousands: Annotated[str, Field(max_length=1)] = ","
    point: Annotated[str, Field(min_length=1, max_length=1)] = "."


class DecimalChange(Model):
    """Read a decimal."""

    decimal: Decimals


class Time(Model):
    """Read a time and write it as RFC 3339."""

    time: FormField
    zone: ZoneField | None = None


class OneOf(Model):
    """Of many texts the one that all are; another text when they differ."""

    one: Annotated[str, Field(min_length=1, max_length=80)]


Named = Literal["trim", "upper", "lower", "strip_zeros", "digits"]
Together = Literal["sum", "outcome"] | OneOf
"""What makes one text of many."""

Transform = Named | Strip | Cut | Prefix | Find | Codes | Places | DecimalChange | Time | Together

_NAMED: Final[dict[str, Change]] = {
    "trim": str.strip,
    "upper": str.upper,
    "lower": str.lower,
    "strip_zeros": lambda text: text.lstrip("0") or text[-1:],
    "digits": lambda text: "".join(char for char in text if char in "0123456789"),
}


def together(transform: Transform) -> Callable[[list[str]], str] | None:
    """Return what makes one text of many, none of them empty, and raises Rejection; None for another transform."""
    match transform:
        case "sum":
            return lambda texts: format(sum(map(number, texts), Decimal()), "f")
        case "outcome":
            return _outcome
        case OneOf():
            return lambda texts: texts[0] if len({*texts}) == 1 else transform.one
        case _:
            return None


def _outcome(texts: list[str]) -> str:
    """Return the outcome of what has many: the one that all share; pending where the rest is ok, and else exception."""
    found = {*texts}
    if len(found) == 1:
        return texts[0]
    return "pending" if found == {"ok", "pending"} else "exception"


def change_of(transforms: Iterable[Transform], zone: str, clock: Clock) -> Change | None:
    """Return all *transforms* as one function, or None for none; it raises Rejection."""
    changes = [_change(each, zone, clock) for each in transforms]
    if not changes:
        return None
    if len(changes) == 1:
        return changes[0]

    def all_of_them(text: str) -> str:
        for change in changes:
            text = change(text)
        return text

    return all_of_them


def _change(transform: Transform, zone: str, clock: Clock) -> Change:
    match transform:
        case str() if transform in _NAMED:
            return _NAMED[transform]
        case Strip():
            return lambda text: text.strip(transform.strip)
        case Cut():
            begin, end = transform.cut
            return lambda text: text[begin:end]
        case Prefix():
            return lambda text: transform.prefix + text
        case Find():
            return _found(transform.find)
        case Codes():
            return _mapped(transform)
        case Places():
            return lambda text: _scaled(text, transform.places)
        case DecimalChange():
            return lambda text: _plain(text, transform.decimal)
        case Time():
            read = time_reader(transform.time, zone_of(transform.zone or zone), clock)
            return lambda text: rfc3339(read(text))
        case _:
            raise AssertionError("what makes one of many is applied by the getter")


def _found(text: str) -> Change:
    compiled = expression(text)

    def find(value: str) -> str:
        found = compiled.search(value.encode())
        if found is None:
            raise Rejection("not_found")
        return (found.group(1 if compiled.groups else 0) or b"").decode()

    return find


def _mapped(codes: Codes) -> Change:
    def mapped(text: str) -> str:
        found = codes.map.get(text, codes.otherwise)
        if found is None:
            raise Rejection("unknown_code")
        return found

    return mapped


def number(text: str) -> Decimal:
    """Return a decimal as it is written; Rejection when it is none."""
    try:
        number = Decimal(text if len(text) <= LONGEST_NUMBER else "")
        exponent = number.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -MAX_PLACES or number.adjusted() >= MAX_DIGITS:
            raise Rejection("bad_number")
    except InvalidOperation:
        raise Rejection("bad_number") from None
    return number


def _scaled(text: str, places: int) -> str:
    return format(number(text.strip()).scaleb(-places), "f")


def _plain(text: str, form: Decimals) -> str:
    text = text.strip()
    if text.endswith("-"):
        text = f"-{text[:-1].strip()}"
    if form.thousands:
        text = text.replace(form.thousands, "")
    if form.point != ".":
        text = text.replace(form.point, ".")
    return format(number(text), "f")
