"""Names of our attributes on spans, events and baggage; constants only.

The registry of meanings is the telemetry convention in ``docs/telemetry.md``. The prefix is written once, here.
"""

from typing import Final

PREFIX: Final = "controltower."

STEP: Final = PREFIX + "step"
KEY: Final = PREFIX + "key."  # + type: a string or an array of strings
SCOPE: Final = PREFIX + "scope."  # + type: issuer of that key
CONTEXT: Final = PREFIX + "context."  # + type: describes, never joins
AMOUNT: Final = PREFIX + "amount"  # decimal string
CURRENCY: Final = PREFIX + "currency"  # ISO 4217
QUANTITY: Final = PREFIX + "quantity"  # decimal string
UOM: Final = PREFIX + "uom"
BUSINESS_TIME: Final = PREFIX + "business_time"  # RFC 3339
OUTCOME: Final = PREFIX + "outcome"
REASON: Final = PREFIX + "reason"
ACTOR: Final = PREFIX + "actor"  # human | system
INTERFACE: Final = PREFIX + "interface"
STYLE: Final = PREFIX + "style"
LAYER: Final = PREFIX + "layer"
REPLAY_OF: Final = PREFIX + "replay_of"
RUN_ID: Final = PREFIX + "run.id"
RUN_EXPECTED: Final = PREFIX + "run.expected_records"
RUN_RECORDS: Final = PREFIX + "run.records"
RUN_REJECTED: Final = PREFIX + "run.rejected"
RUN_CONTROL_TOTAL: Final = PREFIX + "run.control_total"
MESSAGE_WAIT: Final = PREFIX + "message.wait_ms"  # from sent, or taken by the broker, to received
MESSAGE_REDELIVERED: Final = PREFIX + "message.redelivered"
MESSAGE_DELIVERY_COUNT: Final = PREFIX + "message.delivery_count"  # 1 for the first
MESSAGE_REQUEUED: Final = PREFIX + "message.requeued"
MESSAGE_DEAD_COUNT: Final = PREFIX + "message.dead_letter_count"
REDACTED: Final = PREFIX + "redacted"  # what the collector removed: field:rule=times, never a value
TRUNCATED: Final = PREFIX + "truncated"  # what the collector cut: attributes, events, links, names, values

LINE_EVENT: Final = PREFIX + "line"  # span event, one per document line
LINE: Final = "line"
ITEM: Final = "item"
UNIT_PRICE: Final = "unit_price"
LINE_QUANTITY: Final = "quantity"
LINE_UOM: Final = "uom"
LINE_AMOUNT: Final = "amount"

OUTCOMES: Final = ("ok", "rejected", "exception", "duplicate", "pending")
STYLES: Final = ("api", "event", "queue", "file", "batch", "edi")
