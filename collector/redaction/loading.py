"""The rules for sources that are not ``phi``, as the store applies them when it loads."""

from collections.abc import Mapping

from controltower.collector.redaction.linear import expression
from controltower.collector.redaction.policy import TEXT_FIELDS, Policy, Treatment
from controltower.collector.redaction.reach import reaches
from controltower.collector.redaction.rules import glob_expression, typed
from controltower.store import redaction as store
from controltower.tracer.tokens import Key


def load_rules(policy: Policy, keys: tuple[Key, ...] = ()) -> store.Redaction:
    """Return what the load makes of *policy*; of *keys* the versions only."""
    of = policy.classes.other
    return store.Redaction(
        name=policy.policy,
        version=policy.version,
        digest=policy.digest,
        patterns=tuple((pattern.find, pattern.mask) for pattern in policy.patterns.values()),
        rules=policy.rules,
        attributes=_names(policy, typed(policy, "other"), of.attributes),
        line=_names(policy, {}, of.line),
        unlisted=_of(policy, of.unlisted),
        texts={field: _of(policy, of.text(field)) for field in TEXT_FIELDS},
        plain_names=not any(reaches(pattern.find, store.PLAIN) for pattern in policy.patterns.values()),
        key_versions=tuple(key.version for key in keys),
    )


def _names(policy: Policy, registry: Mapping[str, Treatment], given: Mapping[str, Treatment]) -> store.Names:
    """Return names and globs in the order in which they count: what the policy lists, then what follows from its keys."""
    every = {**registry, **given}
    globs = [*given.items(), *((name, treatment) for name, treatment in registry.items() if name not in given)]
    expressions = [(glob_expression(name), _of(policy, treatment)) for name, treatment in globs if "*" in name]
    compiled = [(expression(found, any_byte=True), treatment) for found, treatment in expressions]
    exact: dict[str, store.Treatment] = {}
    for name, treatment in every.items():
        wanted = _of(policy, treatment)
        lower = name.lower()
        if "*" not in name and wanted != next((t for e, t in compiled if e.fullmatch(lower.encode())), None):
            exact[lower] = wanted  # the engine has the less to look through the fewer names say what a glob says, too
    return store.Names(exact, expressions)


def _of(policy: Policy, treatment: Treatment) -> store.Treatment:
    shape = policy.shapes.get(treatment.shape, "")
    return store.Treatment(treatment.action, shape, treatment.type, treatment.or_token)
