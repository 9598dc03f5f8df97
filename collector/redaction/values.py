"""What a treatment does to one value of an attribute. Messages are the lenient ones, in which every text is bytes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from controltower.collector.redaction.patterns import Masker
from controltower.collector.redaction.policy import Policy, Treatment
from controltower.collector.redaction.printed import printed
from controltower.tracer.tokens import Tokeniser, is_token

REDACTED: Final = b"[redacted]"
REMEMBERED: Final = 8_192  # values known to have their shape
LONGEST_TOKENISED: Final = 512  # bytes; what is longer is no key


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to a value: the rules that did it, once for each time; whether the value has to go."""

    rules: tuple[str, ...]
    gone: bool = False


DROPPED: Final = Change(("drop",), gone=True)
NO_KEY: Final = Change(("no_key",), gone=True)
TOKENISED: Final = Change(("token",))
SHAPED: Final = Change(("shape",))

Scope = Callable[[str], bytes]
Treat = Callable[[Any, Scope], Change | None]
"""Changes an AnyValue in place; None when it stays as it is."""

TreatText = Callable[[bytes], tuple[bytes, tuple[str, ...]]]
"""Returns a text as it may be stored, and the rules that changed it."""


class Treatments:
    """Makes functions of treatments, for one policy."""

    def __init__(self, policy: Policy, masker: Masker, tokeniser: Tokeniser) -> None:
        self._shapes = policy.shapes
        self._masker = masker
        self._tokeniser = tokeniser
        self._fitting: dict[str, Callable[[bytes], bool]] = {}  # by the name of the shape

    def of(self, treatment: Treatment, type_: str) -> Treat:
        """Return what *treatment* does to the values of an attribute whose key type, where it has one, is *type_*."""
        if treatment.action == "keep":
            return _keep
        if treatment.action == "drop":
            return _drop
        if treatment.action == "token":
            return self._token(treatment.type or type_)
        instead = self._token(treatment.type or type_) if treatment.or_token else None
        if treatment.action == "mask":
            return self._mask(instead)
        return self._shape(self._fits(treatment.shape), instead)

    def of_text(self, treatment: Treatment) -> TreatText:
        """Return what *treatment* does to a text that is no attribute."""
        if treatment.action == "keep":
            return lambda text: (text, ())
        if treatment.action == "mask":
            return self._masker.mask
        if treatment.action == "shape":
            fits = self._fits(treatment.shape)
            return lambda text: (text, ()) if not text or fits(text) else (REDACTED, SHAPED.rules)
        return lambda text: (b"", DROPPED.rules) if text else (text, ())

    def _fits(self, name: str) -> Callable[[bytes], bool]:
        """Return whether a text has the shape *name* and holds nothing to be masked; what fits is remembered."""
        if name in self._fitting:
            return self._fitting[name]
        fits, known = self._masker.shaped(self._shapes[name]), set[bytes]()

        def known_to_fit(text: bytes) -> bool:
            if text in known:
                return True
            if not fits(text):
                return False
            if len(known) >= REMEMBERED:
                known.clear()
            known.add(text)
            return True

        self._fitting[name] = known_to_fit
        return known_to_fit

    def _shape(self, fits: Callable[[bytes], bool], instead: Treat | None) -> Treat:
        def treat(value: Any, scope: Scope) -> Change | None:
            text = value.string_value
            if text and fits(text):  # nearly always
                return None
            if value.HasField("int_value") and fits(b"%d" % value.int_value):
                return None
            texts = [text] if text else _texts(value)
            if texts is not None and all(map(fits, texts)):
                return None
            if instead is not None:
                return instead(value, scope)
            value.string_value = REDACTED
            return SHAPED

        return treat

    def _mask(self, instead: Treat | None) -> Treat:
        mask = self._masker.mask

        def treat(value: Any, scope: Scope) -> Change | None:
            text = value.string_value or printed(value)
            masked, rules = mask(text)
            if masked == text:
                return None
            if instead is not None:
                return instead(value, scope)
            value.string_value = masked
            return Change(rules)

        return treat

    def _token(self, type_: str) -> Treat:
        tokeniser = self._tokeniser

        def treat(value: Any, scope: Scope) -> Change | None:
            text = value.string_value
            texts = [text] if text else _texts(value)
            if texts is None or any(len(text) > LONGEST_TOKENISED for text in texts):
                return DROPPED
            if all(map(is_token, texts)):
                return None
            if not tokeniser.can:
                return NO_KEY
            issuer = scope(type_)
            _put(value, [token for text in texts for token in tokeniser.tokens(type_, issuer, text)])
            return TOKENISED

        return treat


def _texts(value: Any) -> list[bytes] | None:
    """Return the texts of a value or of a flat array; None for what holds no texts that a key could be.

    Yes and no say nothing of anybody, and nor does what is empty: they are left out.
    """
    kind = value.WhichOneof("value")
    elements = value.array_value.values if kind == "array_value" else (value,)
    found = []
    for element in elements:
        kind = element.WhichOneof("value")
        if kind in ("string_value", "int_value", "double_value"):
            text = printed(element)
            if text:
                found.append(text)
        elif kind not in (None, "bool_value"):
            return None
    return found


def _put(value: Any, texts: list[bytes]) -> None:
    if len(texts) == 1:
        value.string_value = texts[0]
        return
    value.Clear()
    for text in texts:
        value.array_value.values.add().string_value = text


def _keep(_: Any, __: Scope) -> Change | None:
    return None


def _drop(_: Any, __: Scope) -> Change | None:
    return DROPPED
