"""What can be wrong with a log of OCEL."""

from controltower.store.errors import StoreError


class OcelError(StoreError):
    """A file is no log of OCEL, or is damaged; what the sentence says is where."""
