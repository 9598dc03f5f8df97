"""Conditions in statements that are analysed for every insert, written without AND and OR.

The engine's analyser compares the parts of every AND and OR, and with each column in them all that the column is made
of: in views of many steps that was three quarters of the analysis (pass ``LogicalExpressionOptimizer``, 26.7).
"""


def all_of(first: str, *others: str) -> str:
    """Return whether all conditions hold; the later ones are evaluated only where the earlier ones do."""
    *before, last = first, *others
    return f"multiIf({''.join(f'NOT ({each}), false, ' for each in before)}{last})" if before else last


def any_of(first: str, *others: str) -> str:
    """Return whether one of the conditions holds; the later ones are evaluated only where the earlier ones do not."""
    *before, last = first, *others
    return f"multiIf({''.join(f'{each}, true, ' for each in before)}{last})" if before else last
