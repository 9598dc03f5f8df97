"""Puts tokens in the place of what leads to a patient, before any of it is kept, sent on or exported."""

from collections.abc import Iterable, Mapping
from typing import Final

from opentelemetry.util.types import AnyValue

from controltower.tracer import attributes, values
from controltower.tracer.guard import Guard
from controltower.tracer.key_types import KEY_TYPES, PATIENT_TYPES
from controltower.tracer.tokens import Key, Tokeniser, is_token
from controltower.tracer.values import Misuse

NO_KEY: Final = "no_redaction_key"
UNKNOWN: Final = "unknown_key_type"
NOT_READABLE: Final = "unreadable_patient_value"

_KEYED: Final = (attributes.KEY, attributes.CONTEXT)


class Pseudonyms:
    """Makes tokens of the keys and contexts of some types. Without a key their values are left out, and counted."""

    def __init__(
        self,
        keys: tuple[Key, ...],
        guard: Guard,
        types: frozenset[str] = PATIENT_TYPES,
        known: frozenset[str] = KEY_TYPES,
    ) -> None:
        self.types = types
        self._known = known
        self._tokeniser = Tokeniser(keys)
        self._guard = guard

    def of(self, type_: str, given: Iterable[str], scope: str | None, misuse: Misuse) -> tuple[str, ...]:
        """Return the tokens of *given*, in the overlap of a rotation two for each; what is a token stays as it is."""
        issuer = (scope or "").encode("utf-8", "replace")
        found: dict[str, None] = {}
        for value in given:
            tokens = self._tokeniser.tokens(type_, issuer, value.encode("utf-8", "replace"))
            found.update((token.decode(), None) for token in tokens)
            if not tokens:
                misuse(NO_KEY, _no_key(type_))
        return tuple(found)

    def keys(
        self, given: dict[str, tuple[str, ...]], scopes: Mapping[str, str], misuse: Misuse
    ) -> dict[str, tuple[str, ...]]:
        """Return *given* with tokens for the values of patients; what is no key type is reported, and kept."""
        self.check(given, misuse)
        return self.tokens(given, scopes, misuse)

    def tokens(
        self, given: dict[str, tuple[str, ...]], scopes: Mapping[str, str], misuse: Misuse
    ) -> dict[str, tuple[str, ...]]:
        """Return *given*, keys or contexts, with tokens for the values of patients; types without values are left out."""
        if self.types.isdisjoint(given):
            return given
        made = {
            type_: self.of(type_, many, scopes.get(type_), misuse) if type_ in self.types else many
            for type_, many in given.items()
        }
        return {type_: many for type_, many in made.items() if many}

    def check(self, types: Iterable[str], misuse: Misuse) -> None:
        """Report key types that are not in the registry: a slip of the pen joins nothing."""
        if not self._known.issuperset(types):
            for type_ in types:
                if type_ not in self._known:
                    misuse(UNKNOWN, _unknown(type_, self._known))

    def context(self, given: object, scopes: Mapping[str, str], misuse: Misuse) -> dict[str, str | tuple[str, ...]]:
        """Return what describes a step, as attributes."""
        texts = values.texts_of(given, "context", misuse)
        patients: dict[str, tuple[str, ...]] = {
            type_: (text,) for type_, text in texts.items() if type_ in self.types and text.strip()
        }
        made = self.tokens(patients, scopes, misuse) if patients else {}
        found: dict[str, str | tuple[str, ...]] = {}
        for type_, text in texts.items():
            if type_ not in self.types:
                found[attributes.CONTEXT + type_] = text
            elif tokens := made.get(type_):
                found[attributes.CONTEXT + type_] = tokens[0] if len(tokens) == 1 else tokens
        return found

    # -- what others put on spans

    def type_of(self, name: str) -> str | None:
        """Return the patients' type of the attribute *name*; ``None`` when it is not one of theirs."""
        if name.startswith(_KEYED):
            type_ = name.rpartition(".")[2]
            return type_ if type_ in self.types else None
        return None

    def hidden(self, type_: str, value: AnyValue, scope: AnyValue) -> str | tuple[str, ...] | None:
        """Return the tokens of an attribute's *value*; ``None`` when it has to go, which is counted."""
        texts = _texts(value)
        if texts is None:
            self._guard.note(NOT_READABLE, f"{type_} leads to a patient and is no text on a span; it is left out")
            return None
        made = self.of(type_, texts, scope if isinstance(scope, str) else None, self._guard.note)
        return made[0] if len(made) == 1 else made or None


def are_tokens(value: AnyValue) -> bool:
    """Return whether an attribute's value is a token, or an array of them."""
    if isinstance(value, str):
        return is_token(value.encode("utf-8", "replace"))
    return isinstance(value, (tuple, list)) and all(map(are_tokens, value))


def _texts(value: AnyValue) -> list[str] | None:
    many = value if isinstance(value, (tuple, list)) else (value,)
    if not all(isinstance(each, (str, int)) and not isinstance(each, bool) for each in many):
        return None
    return [text for each in many if (text := str(each).strip())]


def _unknown(type_: str, known: frozenset[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(type_, sorted(known), 1)
    meant = f", maybe {close[0]} is meant" if close else ""
    return f"{type_} is not a key type that is known{meant}; name types of your own in configure(key_types=[...])"


def _no_key(type_: str) -> str:
    return (
        f"{type_} leads to a patient and there is no key to make tokens with, so its value is left out: "
        "give configure(redaction_key=...) or CONTROLTOWER_REDACTION_KEY_FILE (`controltower redact key` makes one)"
    )
