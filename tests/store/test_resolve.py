"""Which transactions a step belongs to, and why."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from controltower.store.flows.resolve import Resolution
from controltower.store.rows import Key, Step
from tests.store.flow_steps import FLOW, P2P, START, anchors, key, resolve_all, seen
from tests.store.reference import Place, Reference


def parked(resolution: Resolution) -> tuple[str, str]:
    """Return state and reason of a parked step."""
    assert resolution.parked is not None
    return resolution.parked.state, resolution.parked.reason


def test_a_step_with_the_anchor_belongs_to_it() -> None:
    """The anchor's own key decides, whatever else the step carries."""
    found = resolve_all([seen(1, "order:1", "box:B"), seen(2, "order:2", "box:B")])

    assert anchors(found[1]) == ["order:1"]
    assert anchors(found[2]) == ["order:2"]


def test_a_step_walks_up_over_links() -> None:
    """A step with a voucher only reaches its order over the bill, and says over which spans."""
    found = resolve_all([seen(1, "voucher:V"), seen(2, "voucher:V", "bill:I"), seen(3, "bill:I", "order:1")])

    (member,) = found[1].memberships
    assert member.anchor == key("order:1")
    assert [(via.type, via.span_id) for via in member.via] == [
        ("voucher", f"{1:016x}"),
        ("bill", f"{2:016x}"),
        ("order", f"{3:016x}"),
    ]
    assert member.evidence == "key"
    assert member.through == (key("bill:I"),)


def test_a_bridge_belongs_to_many_and_joins_none() -> None:
    """A shared box puts its own steps into both orders, and no step of one order into the other."""
    found = resolve_all(
        [seen(1, "box:B", "order:1", "order:2"), seen(2, "box:B"), seen(3, "order:1", "slip:S"), seen(4, "slip:S")]
    )

    assert anchors(found[1]) == anchors(found[2]) == ["order:1", "order:2"]
    assert anchors(found[4]) == ["order:1"]


def test_an_ancestor_on_the_step_says_it_better() -> None:
    """A payment of many bills does not spread a step that names its bill."""
    steps = [
        seen(1, "bill:A", "order:1"),
        seen(2, "bill:B", "order:2"),
        seen(3, "pay:P", "bill:A"),
        seen(4, "pay:P", "bill:B"),
        seen(5, "pay:P"),
    ]
    found = resolve_all(steps)

    assert anchors(found[3]) == ["order:1"]
    assert anchors(found[4]) == ["order:2"]
    assert anchors(found[5]) == ["order:1", "order:2"]


def test_keys_of_several_types_must_agree() -> None:
    """A box of two orders and a slip of one: the step belongs to the one."""
    steps = [seen(1, "box:B", "order:1", "order:2"), seen(2, "slip:S", "order:2"), seen(3, "box:B", "slip:S")]

    assert anchors(resolve_all(steps)[3]) == ["order:2"]


def test_keys_that_contradict_each_other_join_neither() -> None:
    """Two keys that lead to different orders leave the step out, with both as candidates."""
    steps = [seen(1, "box:B", "order:1"), seen(2, "slip:S", "order:2"), seen(3, "box:B", "slip:S")]
    found = resolve_all(steps)[3]

    assert parked(found)[0] == "ambiguous"
    assert found.parked is not None
    assert found.parked.candidates == (key("order:1"), key("order:2"))


def test_a_key_of_one_document_with_two_parents_is_ambiguous() -> None:
    """A slip may have one order; with two it leads to neither."""
    found = resolve_all([seen(1, "slip:S", "order:1"), seen(2, "slip:S", "order:2"), seen(3, "slip:S")])

    assert anchors(found[1]) == ["order:1"]
    assert parked(found[3]) == ("ambiguous", "slip S leads to 2 order keys and may have one")


def test_the_next_anchor_takes_what_reaches_no_order() -> None:
    """A bill without an order is its own transaction, until the order is known."""
    steps = [seen(1, "bill:I@acme"), seen(2, "voucher:V", "bill:I@acme"), seen(3, "voucher:V")]

    assert [anchors(one) for one in resolve_all(steps).values()] == [["bill:I"]] * 3
    later = resolve_all([*steps, seen(4, "bill:I@acme", "order:1")])
    assert [anchors(later[number]) for number in (1, 2, 3)] == [["order:1"]] * 3


def test_a_payment_reaches_orders_and_bills_without_order() -> None:
    """Each branch goes up as far as it can."""
    steps = [seen(1, "bill:A", "order:1"), seen(2, "pay:P", "bill:A"), seen(3, "pay:P", "bill:B"), seen(4, "pay:P")]

    assert anchors(resolve_all(steps)[4]) == ["bill:B", "order:1"]


def test_a_missing_scope_is_inferred_when_one_fits() -> None:
    """A bill number without its vendor stands for the one vendor known; with two vendors for neither."""
    steps = [seen(1, "bill:I@acme", "order:1"), seen(2, "bill:I")]

    assert anchors(resolve_all(steps)[2]) == ["order:1"]
    both = resolve_all([*steps, seen(3, "bill:I@zeta", "order:2")])
    assert parked(both[2])[0] == "ambiguous"
    assert anchors(both[3]) == ["order:2"]


def test_equal_numbers_of_two_issuers_stay_apart() -> None:
    """The same bill number from two vendors is two bills."""
    steps = [
        seen(1, "bill:I@acme", "order:1"),
        seen(2, "bill:I@zeta", "order:2"),
        seen(3, "voucher:V", "bill:I@acme"),
        seen(4, "voucher:V"),
    ]

    assert anchors(resolve_all(steps)[4]) == ["order:1"]


def test_a_number_used_again_is_another_number() -> None:
    """Payment numbers come back after ten days; a link counts only around its own time."""
    steps = [
        seen(1, "bill:A", "order:1"),
        seen(2, "bill:B", "order:2", day=40),
        seen(3, "pay:7", "bill:A", day=1),
        seen(4, "pay:7", "bill:B", day=41),
        seen(5, "pay:7", day=3),
        seen(6, "pay:7", day=44),
    ]
    found = resolve_all(steps)

    assert anchors(found[5]) == ["order:1"]
    assert anchors(found[6]) == ["order:2"]


def test_a_hub_is_no_way() -> None:
    """A payment number over its fan-out limit joins nothing, and says so."""
    steps = [seen(number, "pay:0815", f"bill:{number}") for number in range(1, 5)]
    found = resolve_all([*steps, seen(9, "pay:0815")])[9]

    assert parked(found)[0] == "ambiguous"
    assert "fan-out limit 3" in parked(found)[1]


def test_a_trace_lifts_a_step_when_it_leaves_no_choice() -> None:
    """A step in a trace with a single order belongs to it, and the evidence says trace."""
    found = resolve_all([seen(1, "order:1", trace=5), seen(2, "slip:S", trace=5), seen(3, trace=5)])

    assert anchors(found[2]) == anchors(found[3]) == ["order:1"]
    assert found[2].memberships[0].evidence == "trace"


def test_a_trace_of_many_documents_lifts_nothing() -> None:
    """A batch run with one order and many slips does not put all slips into that order."""
    steps = [seen(1, "order:1", "slip:A", trace=5), seen(2, "slip:B", trace=5), seen(3, "slip:C", trace=5)]
    found = resolve_all(steps)

    assert parked(found[2])[0] == parked(found[3])[0] == "parked"
    two_orders = resolve_all([seen(1, "order:1", trace=5), seen(2, "order:2", trace=5), seen(3, trace=5)])
    assert parked(two_orders[3]) == ("parked", "it carries no key of the flow")


def test_what_waits_says_for_what() -> None:
    """A step without a way up names the keys that lead nowhere yet."""
    assert parked(resolve_all([seen(1, "slip:S")])[1]) == (
        "parked",
        "no link from slip S to order or bill was seen yet",
    )


def place(resolution: Resolution) -> Place:
    """Return a resolution as the reference says it."""
    if resolution.parked is not None:
        return Place(resolution.parked.state)
    (how,) = {member.evidence for member in resolution.memberships}
    return Place(how, frozenset(member.anchor for member in resolution.memberships))


TYPES = ("order", "box", "slip", "bill", "voucher", "pay")
some_keys = st.lists(
    st.tuples(st.sampled_from(TYPES), st.sampled_from("123"), st.sampled_from(("", "", "a", "b"))),
    min_size=0,
    max_size=3,
)
some_steps = st.lists(st.tuples(some_keys, st.integers(0, 3), st.integers(0, 30)), max_size=12)


def built(described: list[tuple[list[tuple[str, str, str]], int, int]]) -> list[Step]:
    """Return steps for a drawn description: keys, trace, day."""
    return [
        seen(number, *(f"{kind}:{value}@{scope}" for kind, value, scope in keys), trace=trace, day=day)
        for number, (keys, trace, day) in enumerate(described, 1)
    ]


@given(some_steps, st.randoms(use_true_random=False))
def test_order_changes_nothing(described: list[tuple[list[tuple[str, str, str]], int, int]], random: object) -> None:
    """Any order of the same steps gives the same memberships, explanations and parked steps."""
    steps = built(described)
    shuffled = list(steps)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis draws a random.Random

    assert resolve_all(shuffled) == resolve_all(steps)


@settings(max_examples=500, deadline=None)
@given(some_steps)
def test_the_plain_rules_say_the_same(described: list[tuple[list[tuple[str, str, str]], int, int]]) -> None:
    """Each step has the place that the reference gives it."""
    steps = built(described)
    expected = Reference(FLOW, steps).places()

    assert {(one.trace_id, one.span_id): place(resolve_all(steps)[int(one.span_id, 16)]) for one in steps} == expected


@given(some_steps)
def test_memberships_are_explained_by_what_was_seen(
    described: list[tuple[list[tuple[str, str, str]], int, int]],
) -> None:
    """Every hop of an explanation is a key that the named span carries, and the last hop is the anchor."""
    steps = built(described)
    carried = {(one.trace_id, one.span_id): {(k.type, k.value) for k in one.keys} for one in steps}

    for resolution in resolve_all(steps).values():
        assert (resolution.parked is None) == bool(resolution.memberships)
        for member in resolution.memberships:
            assert member.via[-1][:3] == member.anchor
            for via in member.via:
                assert (via.type, via.value) in carried[via.trace_id, via.span_id]


@given(some_steps)
def test_an_order_is_never_joined_by_a_foreign_key(
    described: list[tuple[list[tuple[str, str, str]], int, int]],
) -> None:
    """A step that names orders belongs to exactly those."""
    steps = built(described)
    found = resolve_all(steps)

    for number, one in enumerate(steps, 1):
        named = {own.value for own in one.keys if own.type == "order"}
        if named and found[number].parked is None:
            assert {member.anchor.value for member in found[number].memberships} == named
            assert {member.anchor.type for member in found[number].memberships} == {"order"}


def test_key_helper_reads_scopes() -> None:
    """The helper of these tests means what it says."""
    assert key("order:7@acme") == Key("order", "acme", "7")
    assert seen(1, day=2).at == START + timedelta(days=2)
    assert FLOW.ancestors["voucher"] == {"bill", "order"}


def test_a_stage_says_by_which_keys_it_is_joined() -> None:
    """A posting that lost its voucher is parked, and not joined to all that its journal is of; with it, it has its place."""
    before = [
        seen(1, "purchase_order:PO-1@acme", "invoice:I-1@v", flow=P2P),
        seen(2, "invoice:I-1@v", "voucher:V-1", flow=P2P),
        seen(3, "voucher:V-1", "gl_journal:J", flow=P2P),
    ]
    posted = replace(seen(4, "gl_journal:J", flow=P2P), stage="posted")
    other = seen(5, "gl_journal:J", flow=P2P)
    found = resolve_all([*before, posted, other], flow=P2P)

    assert found[4].parked is not None
    assert "joined by: purchase_order, invoice, voucher" in found[4].parked.reason
    assert anchors(found[5]) == ["purchase_order:PO-1"]
    whole = replace(seen(4, "gl_journal:J", "voucher:V-1", flow=P2P), stage="posted")
    assert anchors(resolve_all([*before, whole], flow=P2P)[4]) == ["purchase_order:PO-1"]


NEW, OLD = (f"t2:{letter * 26}" for letter in "XY"), (f"t1:{letter * 26}" for letter in "XY")
NEW_ORDER, NEW_SLIP = NEW
OLD_ORDER, OLD_SLIP = OLD
TOKENS = [
    [f"order:{OLD_ORDER}", f"slip:{OLD_SLIP}"],  # before the key for tokens changed
    [f"order:{NEW_ORDER}", f"order:{OLD_ORDER}", f"slip:{NEW_SLIP}", f"slip:{OLD_SLIP}"],  # in the overlap
    [f"slip:{NEW_SLIP}", f"slip:{OLD_SLIP}"],
    [f"slip:{OLD_SLIP}"],  # by a sender that has the key before alone
    [f"slip:{NEW_SLIP}"],  # after it
    [f"order:{NEW_ORDER}"],
]


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(len(TOKENS))))
def test_steps_join_under_either_token_of_a_rotation(order: list[int]) -> None:
    """Two tokens of a value are not two values: what joins by the old one does, what joins by the new one does."""
    found = resolve_all(seen(number, *TOKENS[number]) for number in order)

    old, new = f"order:{OLD_ORDER}", f"order:{NEW_ORDER}"
    assert [anchors(found[number]) for number in range(len(TOKENS))] == [
        [old],
        [old, new],
        [old, new],
        [old],
        [new],
        [new],
    ]


def test_a_trace_with_both_tokens_of_a_value_holds_one() -> None:
    """A step without keys is lifted by its trace in the overlap, too; two values of one version leave a choice."""
    both = [f"order:{NEW_ORDER}", f"order:{OLD_ORDER}"]
    found = resolve_all(
        [
            seen(1, *both, trace=1),
            seen(2, trace=1),
            seen(3, *both, trace=2),
            seen(4, f"order:{OLD_SLIP}", trace=2),
            seen(5, trace=2),
        ]
    )

    assert anchors(found[2]) == [f"order:{OLD_ORDER}", f"order:{NEW_ORDER}"]
    assert anchors(found[5]) == []
