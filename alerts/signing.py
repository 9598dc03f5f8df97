"""Signatures of Standard Webhooks 1.0: HMAC-SHA256 over ``id.timestamp.body``.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from controltower.alerts.errors import SecretError

PREFIX = "whsec_"
MIN_BYTES, MAX_BYTES = 24, 64  # the specification's range
FORM = f"{PREFIX} and 24 to 64 random bytes in base64; make one with: echo {PREFIX}$(openssl rand -base64 32)"


def decode_secret(text: str) -> bytes:
    """Return the key in *text*, with or without its prefix; raise SecretError when it cannot be one."""
    encoded = text.strip().removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SecretError(f"is not base64; it must be {FORM}") from None
    if not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise SecretError(f"holds {len(key)} bytes; it must be {FORM}")
    return key


def sign(keys: Sequence[bytes], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers that sign *body*. Every key signs, so that a receiver can change its secret in peace."""
    seconds = str(int(at.timestamp()))
    content = b".".join((message_id.encode(), seconds.encode(), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{_signature(key, content)}" for key in keys),
    }


def _signature(key: bytes, content: bytes) -> str:
    return base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
