"""The policy: what the YAML may say, read with the line of every mistake."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from controltower.collector.redaction.errors import PolicyError
from controltower.collector.redaction.linear import ExpressionError, expression
from controltower.store.yaml_lines import MistakesError, Problem, read_model

ClassName = Literal["phi", "other"]
CLASSES: Final[tuple[ClassName, ...]] = get_args(ClassName)

TextField = Literal[
    "schema_url",
    "scope.name",
    "scope.version",
    "span.name",
    "span.trace_state",
    "span.status.message",
    "event.name",
    "link.trace_state",
    "log.body",
    "log.severity_text",
    "log.event_name",
    "metric.name",
    "metric.unit",
    "metric.description",
]
TEXT_FIELDS: Final[tuple[TextField, ...]] = get_args(TextField)

# Bounds of what one policy may hold: each pattern is looked for in each text.
MOST_PATTERNS: Final = 100
MOST_NAMES: Final = 5_000
LONGEST_EXPRESSION: Final = 4_000

BASE64: Final = "base64"  # the rule of what patterns find in base64


Action = Literal["drop", "keep", "mask", "token"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done to a value: an action; a shape it must have for ``shape``; a key type for ``token``."""

    action: Action | Literal["shape"]
    shape: str = ""
    type: str = ""  # of the token; empty: that of the key's own name
    or_token: bool = False  # what would be removed becomes a token, so that it still joins

    def __str__(self) -> str:
        """Return it as the policy writes it."""
        word = self.shape or self.action
        return f"{word}{':' + self.type if self.type else ''}{' or token' if self.or_token else ''}"


_PLAIN: Final[dict[str, Treatment]] = {word: Treatment(word) for word in ACTIONS}


def _treatment(value: object) -> object:
    """Read ``drop``, ``token:user``, ``document or token``; the shape's name is checked against the policy later."""
    if not isinstance(value, str):
        return value
    word, _, rest = value.strip().partition(" or ")
    if rest not in ("", "token"):
        raise ValueError(f"{value!r}: only 'or token' can follow")
    word, _, type_ = word.partition(":")
    if type_ and word != "token":
        raise ValueError(f"{value!r}: only token takes a key type")
    if rest and word in ("drop", "keep", "token"):
        raise ValueError(f"{value!r}: 'or token' follows mask or the name of a shape")
    known = _PLAIN.get(word)
    return Treatment(known.action if known else "shape", "" if known else word, type_, bool(rest))


def _expression(text: str) -> str:
    try:
        expression(text)
    except ExpressionError as exc:
        raise ValueError(f"is not a regular expression of RE2: {exc}") from None
    return text


Expression = Annotated[str, Field(min_length=1, max_length=LONGEST_EXPRESSION), AfterValidator(_expression)]
TreatmentField = Annotated[Treatment, BeforeValidator(_treatment)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Glob = Annotated[str, Field(min_length=1, max_length=200)]


_RULE: Final = re.compile(r"\[([a-z0-9_-]+)\]")


class Model(BaseModel):
    """Strict and frozen: an unknown field is a mistake, not a comment."""

    model_config = ConfigDict(extra="forbid", frozen=True, ignored_types=(cached_property,))


class Pattern(Model):
    """What is found in free text, and what stands there instead."""

    find: Expression
    mask: Annotated[str, Field(max_length=80)]

    @property
    def rule(self) -> str:
        """Return what the audit calls it: the word in brackets of its mask."""
        found = _RULE.search(self.mask)
        return found[1] if found else ""


class Types(Model):
    """Types of business keys: those kept as they are, and those of patients, which become tokens."""

    keep: tuple[Name, ...] = ()
    token: tuple[Name, ...] = ()


class ClassPolicy(Model):
    """What happens to the telemetry of one class of sources."""

    unlisted: TreatmentField
    keys: TreatmentField
    contexts: TreatmentField
    scopes: TreatmentField
    attributes: Annotated[dict[Glob, TreatmentField], Field(max_length=MOST_NAMES)] = {}
    line: dict[Glob, TreatmentField] = {}
    texts: dict[TextField, TreatmentField] = {}

    def text(self, field: TextField) -> Treatment:
        """Return what happens to a text field; one that is not listed is treated as an attribute that is not."""
        return self.texts.get(field, self.unlisted)


class Classes(Model):
    """The two classes of sources."""

    phi: ClassPolicy
    other: ClassPolicy


class Policy(Model):
    """A redaction policy."""

    policy: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]
    version: Annotated[int, Field(ge=1)]
    shapes: dict[Name, Expression] = {}
    patterns: Annotated[dict[Name, Pattern], Field(max_length=MOST_PATTERNS)] = {}
    keys: Types
    contexts: Types
    classes: Classes

    def of(self, name: ClassName) -> ClassPolicy:
        """Return what happens to the class *name*."""
        return self.classes.phi if name == "phi" else self.classes.other

    @cached_property
    def rules(self) -> tuple[str, ...]:
        """Return what the masks of the patterns are called, each once, and that of what is hidden in base64."""
        return tuple(dict.fromkeys([*(pattern.rule for pattern in self.patterns.values()), BASE64]))

    @cached_property
    def digest(self) -> str:
        """Return what two policies that do the same have in common, whatever their comments."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def default_text() -> str:
    """Return the YAML of the policy that ships with the product."""
    return (files("controltower.collector.redaction") / "default.yaml").read_text(encoding="utf-8")


def default_policy() -> Policy:
    """Return the policy that ships with the product."""
    return parse_policy(default_text(), "default.yaml")


def load_policy(path: Path) -> Policy:
    """Read a policy file; PolicyError lists every problem with its line and field."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise PolicyError(path, [(1, "file", f"cannot be read: {exc}")]) from exc
    return parse_policy(text, path)


def parse_policy(text: str, file: Path | str) -> Policy:
    """Read a policy from YAML *text*; *file* names it in errors. PolicyError lists every problem with line and field."""
    try:
        return read_model(Policy, text, "policy", _contradictions)
    except MistakesError as exc:
        raise PolicyError(file, exc.problems) from exc


def _contradictions(policy: Policy) -> Iterator[Problem]:
    """Yield (place, problem) for everything that is well formed but cannot be meant."""
    for name, pattern in policy.patterns.items():
        yield from _mask_problems(name, pattern)
    for name in policy.shapes:
        if name in _PLAIN:
            yield ("shapes", name), f"{name} is the name of a treatment"
    for name in CLASSES:
        yield from _class_problems(policy, name)
    if policy.classes.phi.unlisted.action != "drop":
        yield ("classes", "phi", "unlisted"), "what is not listed is dropped for sources of class phi: write drop"
    for where, types in (("keys", policy.keys), ("contexts", policy.contexts)):
        for type_ in sorted(set(types.keep) & set(types.token)):
            yield (where, "token", types.token.index(type_)), f"{type_} is kept, too: it can be one of the two"


def _mask_problems(name: str, pattern: Pattern) -> Iterator[Problem]:
    find = expression(pattern.find)
    if find.search(b"") is not None:
        yield ("patterns", name, "find"), "is found in an empty text, so it would be found everywhere"
    if not pattern.rule:
        yield ("patterns", name, "mask"), "needs a word in brackets, as in [ssn]: the audit calls the rule so"
    groups = find.groups
    for digit in {
        int(char)
        for before, char in zip(pattern.mask, pattern.mask[1:], strict=False)
        if before == "\\" and char.isdigit()
    }:
        if not 0 < digit <= groups:
            yield ("patterns", name, "mask"), f"\\{digit} is none of the {groups} groups of find"


def _class_problems(policy: Policy, name: ClassName) -> Iterator[Problem]:
    rules = policy.of(name)
    single = {"unlisted": rules.unlisted, "keys": rules.keys, "contexts": rules.contexts, "scopes": rules.scopes}
    for field, treatment in single.items():
        yield from _treatment_problems(
            policy, ("classes", name, field), treatment, typed=field in ("keys", "contexts", "scopes")
        )
    for section, treatments in (("attributes", rules.attributes), ("line", rules.line), ("texts", rules.texts)):
        for key, treatment in treatments.items():
            place = ("classes", name, section, key)
            yield from _treatment_problems(policy, place, treatment, typed=section != "texts")
            if section == "texts" and treatment.action == "token":
                yield place, f"{treatment} is for attributes; drop, keep, mask or a shape is for texts"


def _treatment_problems(
    policy: Policy, place: tuple[str, ...], treatment: Treatment, *, typed: bool
) -> Iterator[Problem]:
    if treatment.action == "shape" and treatment.shape not in policy.shapes:
        yield place, f"{treatment.shape!r} is neither a treatment nor one of the shapes"
    if treatment.or_token and not typed:
        yield place, "a text field has no key type, so it can become no token"
