"""The policy file: the one that ships is right, and every mistake is named with file, line and field."""

from pathlib import Path

import pytest

from controltower.collector.redaction.errors import PolicyError
from controltower.collector.redaction.policy import TEXT_FIELDS, default_policy, default_text, load_policy, parse_policy
from controltower.store.flows.files import load_packs

SMALL = """\
policy: small
version: 1
shapes:
  code: '[a-z]+'
patterns:
  ssn: {find: '([0-9]{3})-[0-9]{2}-[0-9]{4}', mask: '[ssn]'}
keys: {keep: [invoice], token: [case]}
contexts: {}
classes:
  phi:
    unlisted: drop
    keys: code or token
    contexts: code
    scopes: code
    attributes:
      service.name: code
  other:
    unlisted: mask
    keys: mask or token
    contexts: mask
    scopes: keep
"""


def problems(text: str) -> list[tuple[int, str, str]]:
    """Return what is wrong with a policy."""
    with pytest.raises(PolicyError) as refused:
        parse_policy(text, "policy.yaml")
    return refused.value.problems


def test_what_flows_judge_by_is_kept_of_sources_with_patients() -> None:
    """Else a deadline that a step states would fall back to the rule's own, and a partner would have no name."""
    read = {rule.stated.context for flow in load_packs() for rule in flow.sla if rule.stated}
    read |= {flow.counterparty for flow in load_packs() if flow.counterparty}
    kept = default_policy().contexts

    assert read <= {*kept.keep, *kept.token}


def test_the_policy_that_ships_is_right() -> None:
    """It parses, names every text field for both classes, and drops what it does not list of phi sources."""
    policy = default_policy()

    assert policy.classes.phi.unlisted.action == "drop"
    for name in ("phi", "other"):
        assert set(policy.of(name).texts) == set(TEXT_FIELDS)


def test_a_small_policy_is_enough() -> None:
    """What a policy leaves out has the treatment of what is not listed."""
    policy = parse_policy(SMALL, "small.yaml")

    assert policy.classes.phi.text("span.name").action == "drop"
    assert policy.classes.other.text("span.name").action == "mask"


def test_comments_do_not_change_the_digest() -> None:
    """Two policies that do the same have one digest, and others have another."""
    same = parse_policy("# a comment\n" + SMALL, "a")
    other = parse_policy(SMALL.replace("[ssn]", "[x]"), "b")

    assert same.digest == parse_policy(SMALL, "c").digest != other.digest


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("version: 1", "version: one", 2, "version"),
        ("version: 1", "version: 1\nversions: 2", 3, "versions"),
        ("'[a-z]+'", "'[a-z'", 4, "shapes.code"),
        ("'[a-z]+'", "'(?=x)[a-z]+'", 4, "shapes.code"),
        ("mask: '[ssn]'", "mask: '\\2[ssn]'", 6, "patterns.ssn.mask"),
        ("'([0-9]{3})-[0-9]{2}-[0-9]{4}'", "'[0-9]*'", 6, "patterns.ssn.find"),
        ("token: [case]", "token: [case, invoice]", 7, "keys.token[1]"),
        ("    unlisted: drop", "    unlisted: mask", 11, "classes.phi.unlisted"),
        ("keys: code or token", "keys: code or drop", 12, "classes.phi.keys"),
        ("contexts: code", "contexts: kode", 13, "classes.phi.contexts"),
        ("service.name: code", "service.name: mask:user", 16, "classes.phi.attributes.service.name"),
        ("scopes: keep", "scopes: keep\n    texts: {span.nam: mask}", 22, "classes.other.texts.span.nam"),
        ("scopes: keep", "scopes: keep\n    texts: {span.name: token}", 22, "classes.other.texts.span.name"),
        ("scopes: keep", "scopes: keep\n    texts: {span.name: mask or token}", 22, "classes.other.texts.span.name"),
        ("policy: small", "policy: [small", 2, "yaml"),
    ],
)
def test_a_mistake_has_its_line_and_field(old: str, new: str, line: int, field: str) -> None:
    """What is wrong is said where it is."""
    assert old in SMALL

    found = problems(SMALL.replace(old, new, 1))
    assert (line, field) in [(at, name.removesuffix(".[key]")) for at, name, _ in found]


def test_a_file_is_named_in_every_line(tmp_path: Path) -> None:
    """The message has file, line and field; a file that cannot be read is told like any other mistake."""
    file = tmp_path / "mine.yaml"
    file.write_text(SMALL.replace("unlisted: drop", "unlisted: keep"))

    with pytest.raises(PolicyError, match=rf"{file}:11: classes\.phi\.unlisted: "):
        load_policy(file)
    with pytest.raises(PolicyError, match=r"none\.yaml:1: file: cannot be read"):
        load_policy(tmp_path / "none.yaml")


def test_the_text_that_ships_is_the_policy_that_ships() -> None:
    """A copy of the shipped file is the shipped policy."""
    assert parse_policy(default_text(), "copy.yaml").digest == default_policy().digest
