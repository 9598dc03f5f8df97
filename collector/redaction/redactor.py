"""Redaction of a request in memory, before anything of it is written: for sources of class ``phi``."""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from controltower.collector.redaction.errors import RedactionError
from controltower.collector.redaction.keys import EVERY_TENANT, Keys
from controltower.collector.redaction.messages import Walker
from controltower.collector.redaction.patterns import Masker
from controltower.collector.redaction.policy import ClassName, Policy
from controltower.collector.redaction.rules import Rules
from controltower.collector.redaction.values import Treatments
from controltower.tracer.tokens import Key, Tokeniser


class Redactor:
    """Redacts requests by a policy, and counts what it did. Safe to use from several threads, one at a time inside."""

    def __init__(
        self,
        policy: Policy,
        keys: tuple[Key, ...],
        name: ClassName = "phi",
        *,
        masker: Masker | None = None,
        notes_names: bool = False,
    ) -> None:
        """Without *keys* what should become a token is dropped. *notes_names* is for trying a policy out."""
        masker, tokeniser = masker or Masker(policy), Tokeniser(keys)
        treatments = Treatments(policy, masker, tokeniser)
        body = policy.of(name).text("log.body")
        self._walker = Walker(
            Rules(policy, name, treatments, masker), treatments.of(body, ""), body.action == "drop", tokeniser
        )
        if notes_names:
            self._walker.names = Counter()
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()

    def __call__(self, signal: str, request: Any) -> Mapping[tuple[str, str], int]:
        """Redact the parsed *request* of *signal* in place and return what was changed: (field, rule) -> times.

        Raises RedactionError, and then the request must not be stored: it may be redacted in part.
        """
        try:
            with self._lock:
                counts = Counter(self._walker.redact(signal, request))
                self._counts.update(counts)
        except Exception as exc:  # noqa: BLE001 - whatever it is, its text may hold what must not be shown
            raise RedactionError(f"A {signal} request could not be redacted ({type(exc).__name__}).") from None
        return counts

    def names(self) -> Mapping[tuple[str, str, str], int]:
        """Return how often each rule changed an attribute: (field, rule, attribute). Names can be patients', too."""
        with self._lock:
            return dict(self._walker.names or {})

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Return how often each rule changed each field since the start: (field, rule) -> times."""
        with self._lock:
            return dict(self._counts)


class TenantRedactor:
    """Redacts requests of every tenant by one policy, each with the keys of its own; counts as ``Redactor`` does."""

    def __init__(self, policy: Policy, keys: Keys) -> None:
        masker = Masker(policy)
        self._of = {tenant: Redactor(policy, own, masker=masker) for tenant, own in keys.by_tenant.items()}
        self._others = self._of.get(EVERY_TENANT) or Redactor(policy, (), masker=masker)

    def __call__(self, signal: str, request: Any, tenant: str = EVERY_TENANT) -> Mapping[tuple[str, str], int]:
        """Redact the parsed *request* of *tenant* in place, as ``Redactor`` does. Raises RedactionError."""
        return self._of.get(tenant, self._others)(signal, request)
