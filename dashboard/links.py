"""Addresses of pages, relative to any page of the dashboard; pure."""

from collections.abc import Mapping
from urllib.parse import urlencode

from controltower.store.read import AnchorRef


def href(page: str, values: Mapping[str, str]) -> str:
    """Return the address of a page with parameters; empty values are left out."""
    given = {name: value for name, value in values.items() if value}
    return f"./{page}?{urlencode(given)}" if given else f"./{page}"


def transaction(reference: AnchorRef, **more: str) -> str:
    """Return the address of a transaction's page."""
    flow, anchor = reference
    return href(
        "transaction", {"flow": flow, "type": anchor.type, "scope": anchor.scope, "value": anchor.value, **more}
    )


def transactions(**wanted: str) -> str:
    """Return the address of the list of transactions, filtered."""
    return href("transactions", wanted)
