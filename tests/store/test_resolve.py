"""Which transactions a step belongs to, and why."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from controltower.store.flows.files import parse_flow
from controltower.store.flows.resolve import Parked, Resolution
from controltower.store.rows import Correction, CorrectionAction, Key, SpanLink, Step
from tests.store.flow_steps import FLOW, P2P, SMALL, START, anchors, corrected, key, linked, resolve_all, seen
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


def test_a_step_of_one_transaction_is_in_none_of_several() -> None:
    """A receipt that names only a box of two orders is ambiguous, in whatever order the two are seen; one that names its order is not."""
    flow = parse_flow(SMALL.replace("step: s.bill.received", "step: s.bill.received, single: true"), "small.yaml")
    opened = [seen(1, "box:B", "order:1", flow=flow), seen(2, "box:B", "order:2", flow=flow)]
    blind = replace(seen(3, "box:B", flow=flow), stage="billed")
    named = replace(seen(4, "box:B", "order:2", flow=flow), stage="billed")

    assert anchors(resolve_all([opened[0], blind], flow=flow)[3]) == ["order:1"]
    for steps in permutations([*opened, blind, named]):
        found = resolve_all(steps, flow=flow)
        assert found[3].parked == Parked(
            "ambiguous",
            "its keys lead to 2 transactions, and a step of billed is of one",
            (key("order:1"), key("order:2")),
        )
        assert anchors(found[4]) == ["order:2"]


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


def test_a_span_link_lifts_a_step_that_nothing_else_places() -> None:
    """What is received in a trace of its own belongs where it was sent, and the explanation names the sender's span."""
    steps = [seen(1, "order:1", trace=5), seen(2, trace=6), seen(3, "slip:S", trace=7)]
    own, of_its_trace = linked(2, 6, to=9, to_trace=5), linked(8, 7, to=1, to_trace=5)
    found = resolve_all(steps, [own, of_its_trace])

    assert anchors(found[2]) == anchors(found[3]) == ["order:1"]
    (member,) = found[2].memberships
    assert (member.evidence, member.via[0].trace_id, member.via[0].span_id) == ("link", f"{5:032x}", f"{1:016x}")


def test_a_link_leads_to_the_step_it_names() -> None:
    """A sender of many documents in one trace is told apart by the span that the link names."""
    steps = [seen(1, "order:1", trace=5), seen(2, "order:2", trace=5), seen(3, trace=6), seen(4, trace=7)]
    found = resolve_all(steps, [linked(3, 6, to=2, to_trace=5), linked(4, 7, to=99, to_trace=5)])

    assert anchors(found[3]) == ["order:2"]
    assert parked(found[4])[0] == "parked"


def test_links_are_followed_through_who_says_nothing() -> None:
    """Three hops lead over brokers and services without keys; a fourth is too far."""
    links = [linked(9, trace, to=9, to_trace=trace - 1) for trace in (6, 7, 8, 9)]
    found = resolve_all([seen(1, "order:1", trace=5), seen(2, trace=8), seen(3, trace=9)], links)

    assert anchors(found[2]) == ["order:1"]
    assert parked(found[3])[0] == "parked"


def test_documents_of_one_file_do_not_place_each_other() -> None:
    """What only a step of the same code says in a trace is that one's own; another kind of step says it for all."""
    file = [seen(4, "order:1", trace=5), seen(8, trace=5)]  # of one code

    assert parked(resolve_all(file)[8])[0] == "parked"
    assert anchors(resolve_all([*file, seen(5, "order:1", trace=5)])[8]) == ["order:1"]


def test_a_record_of_a_run_is_not_placed_by_the_run() -> None:
    """The trace of a run is that of all its records, whatever they are."""
    steps = [seen(1, "order:1", trace=5), replace(seen(2, trace=5), run_id="night")]

    assert parked(resolve_all(steps)[2])[0] == "parked"


def test_a_link_never_goes_against_the_trace() -> None:
    """Where the trace leaves no choice its links are not asked, and where it leaves one they do not take it."""
    steps = [seen(1, "order:1", trace=5), seen(2, "order:2", trace=6), seen(3, trace=6)]
    link = linked(9, 6, to=1, to_trace=5)

    assert anchors(resolve_all(steps, [link])[3]) == ["order:2"]
    two = [*steps, seen(4, "order:3", trace=6)]
    assert parked(resolve_all(two, [link])[3])[0] == "parked"


def test_declared_numbers_of_one_document_are_one() -> None:
    """Two numbers that a step declares to be one bill lead to the same order, and the explanation says so."""
    steps = [
        seen(1, "bill:A", "bill:B", declares=True),
        seen(2, "bill:B", "order:1"),
        seen(3, "voucher:V", "bill:A"),
        seen(4, "bill:A", "bill:B"),
    ]
    found = resolve_all(steps)

    assert [anchors(one) for one in found.values()] == [["order:1"]] * 4
    (member,) = found[3].memberships
    assert [via[0:1] + via[2:4] for via in member.via] == [("bill", "A", "key"), ("order", "1", "key")]
    undeclared = resolve_all(steps[1:])
    assert anchors(undeclared[3]) == ["bill:A"]


def test_tokens_of_two_versions_are_one_number() -> None:
    """While the key for tokens changes, senders give both, and what has the old one joins what has the new one."""
    old, new = f"slip:t1:{'A' * 26}", f"slip:t2:{'B' * 26}"
    found = resolve_all([seen(1, old, "order:1"), seen(2, old, new), seen(3, new)])

    assert anchors(found[3]) == ["order:1"]
    assert ("slip", "alias") in [(via.type, via.evidence) for via in found[3].memberships[0].via]
    two_of_one_version = resolve_all([seen(1, old, "order:1"), seen(2, old, f"slip:t1:{'C' * 26}"), seen(3, new)])
    assert parked(two_of_one_version[3])[0] == "parked"


def test_a_number_of_too_many_documents_is_no_alias() -> None:
    """More numbers than one document can have join nothing."""
    many = seen(1, *(f"bill:{number:02}" for number in range(26)), declares=True)
    found = resolve_all([many, seen(2, "bill:00", "order:1"), seen(3, "bill:01")])

    assert anchors(found[3]) == ["bill:01"]


def test_keys_that_were_cut_are_no_link() -> None:
    """What carries only the key that was cut away loses its way, whatever its trace says; who names the order stays."""
    steps = [seen(1, "slip:S", "order:1", trace=5), seen(2, "slip:S", trace=5), seen(3, "slip:S")]
    found = resolve_all(steps, corrections=[corrected(1, "cut", "slip:S", "order:1")])

    assert anchors(found[1]) == ["order:1"]
    assert parked(found[2])[0] == parked(found[3])[0] == "parked"


def test_a_step_that_was_cut_is_no_evidence() -> None:
    """A document with a mistyped order is taken not to name it: nothing that rests on it alone stays in that order."""
    typed = seen(1, "slip:S", "order:1")
    steps = [typed, seen(2, "slip:S"), seen(3, "slip:S", "order:2")]
    found = resolve_all(steps, corrections=[corrected(1, "cut", typed, "order:1")])

    assert [anchors(one) for one in found.values()] == [["order:2"]] * 3
    alone = resolve_all(steps[:2], corrections=[corrected(1, "cut", typed, "order:1")])
    assert parked(alone[1]) == ("parked", "it was cut from order 1, and nothing else places it")
    assert parked(alone[2])[0] == "parked"


def test_what_was_confirmed_ends_a_doubt() -> None:
    """Of two orders of one slip the confirmed one holds, and the explanation names the correction."""
    steps = [seen(1, "slip:S", "order:1"), seen(2, "slip:S", "order:2"), seen(3, "slip:S")]
    found = resolve_all(steps, corrections=[corrected(7, "confirm", "slip:S", "order:2")])

    (member,) = found[3].memberships
    assert member.anchor == key("order:2")
    assert (member.via[-1].evidence, member.via[-1].span_id) == ("confirm", "c007")


def test_a_confirmed_step_joins_alone() -> None:
    """A confirmation of a step places that step, and none that shares a key or a trace with it."""
    lost = seen(1, "slip:S", trace=5)
    steps = [lost, seen(2, "slip:S"), seen(3, trace=5), seen(4, "order:1")]
    found = resolve_all(steps, corrections=[corrected(1, "confirm", lost, "order:1")])

    assert anchors(found[1]) == ["order:1"]
    assert found[1].memberships[0].evidence == "confirm"
    assert parked(found[2])[0] == parked(found[3])[0] == "parked"


def test_the_last_word_holds_until_it_is_undone() -> None:
    """A confirmation after a cut holds; undone, the cut holds again."""
    steps = [seen(1, "slip:S", "order:1"), seen(2, "slip:S")]
    said = [corrected(1, "cut", "slip:S", "order:1"), corrected(2, "confirm", "slip:S", "order:1")]

    assert anchors(resolve_all(steps, corrections=said)[2]) == ["order:1"]
    undone = corrected(3, "undo", "slip:S", "order:1", undoes=2)
    assert parked(resolve_all(steps, corrections=[undone, *said])[2])[0] == "parked"


def test_a_person_may_say_that_two_numbers_are_one() -> None:
    """Two numbers of a bill that were confirmed to be one lead to the same order, until they are cut."""
    steps = [seen(1, "bill:B", "order:1"), seen(2, "bill:A")]
    one = corrected(1, "confirm", "bill:A", "bill:B")

    assert anchors(resolve_all(steps, corrections=[one])[2]) == ["order:1"]
    assert anchors(resolve_all(steps, corrections=[one, corrected(2, "cut", "bill:B", "bill:A")])[2]) == ["bill:A"]


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
    (how,) = {member.evidence.replace("confirm", "key") for member in resolution.memberships}
    return Place(how, frozenset(member.anchor for member in resolution.memberships))


TYPES = ("order", "box", "slip", "bill", "voucher", "pay")
some_keys = st.lists(
    st.tuples(st.sampled_from(TYPES), st.sampled_from("123"), st.sampled_from(("", "", "a", "b"))),
    min_size=0,
    max_size=3,
)
Described = list[tuple[list[tuple[str, str, str]], int, int, bool]]
some_steps = st.lists(
    st.tuples(some_keys, st.integers(0, 4), st.integers(0, 30), st.sampled_from((False, False, False, True))),
    max_size=12,
)
some_links = st.lists(
    st.builds(linked, st.integers(1, 6), st.integers(0, 4), to=st.integers(1, 6), to_trace=st.integers(0, 4)).filter(
        lambda link: link.trace_id != link.linked_trace_id
    ),
    max_size=4,
)


some_corrections = st.lists(
    st.tuples(
        st.sampled_from(("cut", "confirm", "undo")),
        st.one_of(st.integers(1, 12), st.tuples(st.sampled_from(TYPES), st.sampled_from("12"))),
        st.tuples(st.sampled_from(TYPES), st.sampled_from("12"), st.sampled_from(("", "", "a"))),
        st.integers(1, 5),
    ),
    max_size=5,
)
Decided = list[tuple[str, int | tuple[str, str], tuple[str, str, str], int]]


def decided(steps: list[Step], drawn: Decided) -> list[Correction]:
    """Return corrections for a drawn description; an undo is of the correction with that number."""
    said: list[Correction] = []
    for number, (action, one, (kind, value, scope), undoes) in enumerate(drawn, 1):
        if isinstance(one, int) and one > len(steps):
            continue
        about = steps[one - 1] if isinstance(one, int) else ":".join(one)
        said.append(
            corrected(number, action, about, f"{kind}:{value}@{scope}", undoes=undoes if action == "undo" else 0)
        )
    return said


def built(described: Described) -> list[Step]:
    """Return steps for a drawn description: keys, trace, day, whether it declares."""
    return [
        seen(
            number, *(f"{kind}:{value}@{scope}" for kind, value, scope in keys), trace=trace, day=day, declares=declares
        )
        for number, (keys, trace, day, declares) in enumerate(described, 1)
    ]


@given(some_steps, some_links, some_corrections, st.randoms(use_true_random=False))
def test_order_changes_nothing(described: Described, links: list[SpanLink], drawn: Decided, random: object) -> None:
    """Any order of the same steps, links and corrections gives the same memberships, explanations and parked steps."""
    steps = built(described)
    said = decided(steps, drawn)
    mixed: tuple[list[Step], list[SpanLink], list[Correction]] = (list(steps), list(links), list(said))
    for facts in mixed:
        random.shuffle(facts)  # type: ignore[attr-defined]  # hypothesis draws a random.Random

    assert resolve_all(*mixed) == resolve_all(steps, links, said)


@settings(max_examples=400, deadline=None)
@given(some_steps, some_links, some_corrections)
def test_the_plain_rules_say_the_same(described: Described, links: list[SpanLink], drawn: Decided) -> None:
    """Each step has the place that the reference gives it."""
    steps = built(described)
    said = decided(steps, drawn)
    expected = Reference(FLOW, steps, links, said).places()
    found = resolve_all(steps, links, said)

    assert {(one.trace_id, one.span_id): place(found[int(one.span_id, 16)]) for one in steps} == expected


@given(some_steps, some_links, some_corrections)
def test_what_is_undone_never_was(described: Described, links: list[SpanLink], drawn: Decided) -> None:
    """Corrections that are all undone leave what was there before, explanations included."""
    steps = built(described)
    said = [one for one in decided(steps, drawn) if one.action != "undo"]
    undone = [replace(one, id=f"u{one.id}", action=CorrectionAction.UNDO, undoes=one.id) for one in said]

    assert resolve_all(steps, links, [*undone, *said]) == resolve_all(steps, links)


@given(some_steps, some_links)
def test_memberships_are_explained_by_what_was_seen(described: Described, links: list[SpanLink]) -> None:
    """Every hop of an explanation is a key that the named span carries, and the last hop is the anchor."""
    steps = built(described)
    carried = {(one.trace_id, one.span_id): {(k.type, k.value) for k in one.keys} for one in steps}

    for resolution in resolve_all(steps, links).values():
        assert (resolution.parked is None) == bool(resolution.memberships)
        for member in resolution.memberships:
            assert member.via[-1][:3] == member.anchor
            for via in member.via:
                assert (via.type, via.value) in carried[via.trace_id, via.span_id]


@given(some_steps)
def test_an_order_is_never_joined_by_a_foreign_key(described: Described) -> None:
    """A step that names orders belongs to exactly those."""
    steps = [step for step in built(described) if not step.step.endswith(".link.declared")]
    found = resolve_all(steps)

    for one in steps:
        number = int(one.span_id, 16)
        named = {own.value for own in one.keys if own.type == "order"}
        if named and found[number].parked is None:
            assert {member.anchor.value for member in found[number].memberships} == named
            assert {member.anchor.type for member in found[number].memberships} == {"order"}


def test_a_step_of_two_boxes_is_not_lifted_by_what_is_behind_its_link() -> None:
    """A step with two keys of one type leaves a choice: what one order behind its link says may be of either."""
    two, one = seen(1, "box:1", "box:2", trace=1), seen(2, "box:3", trace=2)
    found = resolve_all([two, one, seen(3, "order:1", trace=3)], [linked(1, 1, 3, 3), linked(2, 2, 3, 3)])

    assert (anchors(found[1]), anchors(found[2])) == ([], ["order:1"])


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
    """Two tokens of a value are one: what joins by the old one and what joins by the new one are one transaction."""
    found = resolve_all(seen(number, *TOKENS[number]) for number in order)

    assert [anchors(found[number]) for number in range(len(TOKENS))] == [[f"order:{OLD_ORDER}"]] * len(TOKENS)


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

    assert anchors(found[2]) == [f"order:{OLD_ORDER}"]
    assert anchors(found[5]) == []
