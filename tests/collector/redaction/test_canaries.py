"""Patient data in every field of every signal of a source of class phi: nothing of it is left (F70)."""

from typing import Any, Final

import pytest

from controltower.collector.otlp import SIGNALS
from controltower.collector.redaction.policy import default_policy
from controltower.collector.redaction.redactor import Redactor
from controltower.tracer.tokens import Key
from tests.collector.redaction.canaries import CANARIES, everywhere, hits

WITH_KEY = Redactor(default_policy(), (Key(1, b"k" * 32),))
WITHOUT_KEY = Redactor(default_policy(), ())
PARSE: Final[dict[str, Any]] = {name: signal.request.FromString for name, signal in SIGNALS.items()}
SIGNAL_NAMES = sorted(PARSE)

# Listed names under which a value of the wrong form may not pass, either.
LISTED = (
    "controltower.step",
    "controltower.key.claim_pcn",
    "controltower.key.purchase_order",
    "controltower.context.payer",
    "controltower.scope.invoice",
    "controltower.redacted",
    "service.name",
    "http.route",
    "error.type",
    "user.hash",
    "item",
)


def redacted(signal: str, request: Any, redactor: Redactor = WITH_KEY) -> bytes:
    """Return what is left of a request."""
    parsed = PARSE[signal](request.SerializeToString())
    redactor(signal, parsed)
    left: bytes = parsed.SerializeToString()
    return left


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES)
@pytest.mark.parametrize("signal", SIGNAL_NAMES)
def test_no_field_lets_patient_data_through(signal: str, canary: str) -> None:
    """Whatever field a canary stands in, nothing of it is left, with a key and without one."""
    request = everywhere(signal, canary, LISTED)
    assert hits(request.SerializeToString())

    assert hits(redacted(signal, request)) == []
    assert hits(redacted(signal, request, WITHOUT_KEY)) == []
