"""How the load prints the ids of records that may have none."""


def valid_id(name: str, length: int) -> str:
    """Return the expression for an id in hexadecimal; '' for one of another length, or of zeros only."""
    return f"multiIf(length({name}) != {length}, '', {name} = unhex('{'00' * length}'), '', lower(hex({name})))"
