"""A generic webhook, signed as Standard Webhooks say."""

import hashlib
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from controltower.alerts.errors import OutboundError
from controltower.alerts.notify import Notice, Outcome, parse_retry_after
from controltower.alerts.outbound import Answer, Door
from controltower.alerts.signing import sign

GONE: Final = 410
# The receiver is too busy or out of order; the next notification would fare no better.
TROUBLE: Final = frozenset({429, 500, 502, 503, 504})
EXCERPT_LIMIT: Final = 200  # characters of the answer that an error repeats
SECRET_LENGTH: Final = 6  # shorter parts of an address hide nothing, and are words of ordinary sentences


class WebhookChannel:
    """Posts notifications to one URL; every key signs."""

    name = "webhook"

    def __init__(self, url: str, keys: Sequence[bytes], door: Door) -> None:
        self._url = url
        self._keys = tuple(keys)
        self._door = door
        self._secrets = _secrets(url)
        self.endpoint = f"webhook:{hashlib.sha256(url.encode()).hexdigest()[:16]}"

    def send(self, notice: Notice) -> Outcome:
        """Post *notice* once. 2xx is success; everything else fails, a redirect too. Blocks at most 16 s."""
        body = notice.body.encode()
        headers = {"content-type": "application/json", **sign(self._keys, notice.id, notice.at, body)}
        try:
            answer = self._door.post(self._url, headers, body)
        except OutboundError as exc:
            return Outcome(delivered=False, error=self._redacted(str(exc)), trouble=True)
        return self._judge(answer, notice)

    def _judge(self, answer: Answer, notice: Notice) -> Outcome:
        if 200 <= answer.status < 300:
            return Outcome(delivered=True, status=answer.status)
        retry_after = parse_retry_after(answer.retry_after, notice.at) if answer.retry_after else None
        return Outcome(
            delivered=False,
            status=answer.status,
            error=self._error(answer),
            retry_after=retry_after,
            gone=answer.status == GONE,
            trouble=answer.status in TROUBLE or retry_after is not None,
        )

    def _error(self, answer: Answer) -> str:
        meaning = {410: " (gone: no more is sent there)"}.get(answer.status, "")
        if 300 <= answer.status < 400:
            meaning = " (a redirect, which is not followed)"
        said = " ".join("".join(c if c.isprintable() else " " for c in answer.excerpt).split())
        said = self._redacted(said)[:EXCERPT_LIMIT]
        return f"The receiver answered {answer.status}{meaning}" + (f": {said}" if said else ".")

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = re.sub(re.escape(secret), "…", text, flags=re.IGNORECASE)
        return text


def _secrets(url: str) -> list[str]:
    """Return what of *url* must not show, the longest first: its path, its query and their parts, in every spelling."""
    parts = urlsplit(url)
    whole = [parts.path, parts.query, f"{parts.path}?{parts.query}"]
    pieces = [*re.split(r"[/?&=;]", parts.path), *re.split(r"[&=;]", parts.query)]
    spelled = {form for text in [*whole, *pieces] for form in (text, unquote(text), quote(unquote(text), safe=""))}
    return sorted((text for text in spelled if len(text) >= SECRET_LENGTH), key=len, reverse=True)
