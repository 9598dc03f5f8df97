"""Which treatment an attribute gets: decided once for each name, and remembered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from controltower.collector.redaction.linear import escaped, expression
from controltower.collector.redaction.patterns import Masker
from controltower.collector.redaction.policy import TEXT_FIELDS, ClassName, Policy, TextField, Treatment
from controltower.collector.redaction.values import REDACTED, Treat, Treatments, TreatText
from controltower.tracer import attributes as names

REMEMBERED: Final = 4_096  # names; a source has hundreds, and one that makes names up must not fill memory


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to an attribute: to its value, and to its name when that itself must be masked."""

    treat: Treat
    scope_of: str = ""  # the key type whose issuer this attribute names
    name: bytes | None = None  # instead of the attribute's own
    drops: bool = False  # whatever its value, which nobody needs


class Rules:
    """The rules of one class of sources."""

    def __init__(self, policy: Policy, name: ClassName, treatments: Treatments, masker: Masker) -> None:
        of = policy.of(name)
        self._treatments = treatments
        self._masker = masker
        self._unlisted = of.unlisted
        self._listed = Listed(typed(policy, name), dict(of.attributes))
        self._line = Listed({}, dict(of.line))
        self._known: dict[bytes, Rule] = {}
        self._known_line: dict[bytes, Rule] = {}
        self._texts = {field: treatments.of_text(of.text(field)) for field in TEXT_FIELDS}

    def known(self, *, line: bool) -> dict[bytes, Rule]:
        """Return the rules that are known already, for look-ups without a call; of a document's line, or of all else."""
        return self._known_line if line else self._known

    def rule(self, key: bytes, *, line: bool) -> Rule:
        """Decide on the attribute *key*, and remember it."""
        decided = self._decide_line(key) if line else self._decide(key)
        known = self.known(line=line)
        if len(known) < REMEMBERED:
            known[key] = decided
        return decided

    def text(self, field: TextField) -> TreatText:
        """Return what happens to a text field."""
        return self._texts[field]

    def _decide_line(self, key: bytes) -> Rule:
        found = self._line.find(key)
        return self._decide(key) if found is None else self._rule(key, found, self._line)

    def _decide(self, key: bytes) -> Rule:
        return self._rule(key, self._listed.find(key) or self._unlisted, self._listed)

    def _rule(self, key: bytes, treatment: Treatment, listed: "Listed") -> Rule:
        """Return the rule for *key*; a name that *listed* does not spell out can say who it is about, too."""
        type_ = _type_of(key)
        looked_at = treatment.action != "drop" and not listed.spells_out(key)
        name = REDACTED if looked_at and self._masker.mask(key)[0] != key else None
        scope_of = type_ if key.startswith(names.SCOPE.encode()) else ""
        drops = treatment.action == "drop" and not scope_of  # an issuer that goes still says whose a key is
        return Rule(self._treatments.of(treatment, type_), scope_of, name, drops)


class Listed:
    """Names and globs of attributes; letters count as equal in either case. An exact name comes before a glob."""

    def __init__(self, typed_names: Mapping[str, Treatment], given: Mapping[str, Treatment]) -> None:
        every = {**typed_names, **given}
        self._exact = {name.lower().encode(): treatment for name, treatment in every.items() if "*" not in name}
        # What the policy lists comes before what follows from the registry of keys.
        globs = [*given.items(), *((name, treatment) for name, treatment in typed_names.items() if name not in given)]
        self._globs = [(glob(name), treatment) for name, treatment in globs if "*" in name]

    def spells_out(self, key: bytes) -> bool:
        """Whether the attribute *key* is listed as it is, and not by a glob."""
        return key.lower() in self._exact

    def find(self, key: bytes) -> Treatment | None:
        """Return the treatment of the attribute *key*, None when it is not listed."""
        lower = key.lower()
        found = self._exact.get(lower)
        if found is not None:
            return found
        return next((treatment for matches, treatment in self._globs if matches(lower)), None)


def glob(text: str) -> Callable[[bytes], Any]:
    """Return what tells whether a name in lower case matches *text*, in which ``*`` stands for any characters."""
    return expression(glob_expression(text), any_byte=True).fullmatch


def glob_expression(text: str) -> str:
    """Return the regular expression that a glob stands for, in lower case."""
    return ".*".join(escaped(part.lower()) for part in text.split("*"))


def typed(policy: Policy, name: ClassName) -> dict[str, Treatment]:
    """Return the treatments that follow from the registry of key types: of keys, contexts and scopes."""
    of = policy.of(name)
    found: dict[str, Treatment] = {}
    for prefix, types, kept in ((names.KEY, policy.keys, of.keys), (names.CONTEXT, policy.contexts, of.contexts)):
        found |= {f"{prefix}{type_}": kept for type_ in types.keep}
        found |= {f"{prefix}{type_}": Treatment("token", type=type_) for type_ in types.token}
    found |= {f"{names.SCOPE}{type_}": of.scopes for type_ in (*policy.keys.keep, *policy.keys.token)}
    if of.unlisted.action != "drop":  # types that the registry does not know are business keys, too
        found |= {f"{names.KEY}*": of.keys, f"{names.CONTEXT}*": of.contexts, f"{names.SCOPE}*": of.scopes}
    return found


def _type_of(key: bytes) -> str:
    """Return the key type of an attribute: the end of the name of a key or context, else the whole name."""
    text = key.decode("utf-8", "replace").lower()
    for prefix in (names.KEY, names.CONTEXT, names.SCOPE):
        if text.startswith(prefix):
            return text.removeprefix(prefix)
    return text
