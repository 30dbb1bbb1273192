"""Merges, undos, rulings and withdrawals in any order, against a plain set-partition that is kept by hand."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from etl.model.frames import empty
from etl.silver.identity_edges import gathered, judged, united
from etl.silver.identity_events import IDENTITY_EVENTS
from etl.silver.identity_map import IDENTITY_MAP, current
from etl.silver.rulings import contradicted, standing
from tests.identity.evidence import INPUTS, Evidence, customer_of, frame, ledger, node, resolved

PEOPLE = [f"p{number}" for number in range(6)]
SOMEBODY = st.sampled_from(PEOPLE)
NAMES = frame(INPUTS["person_records"], []).select("node_id", "given_name", "family_name")

Pair = tuple[str, str]


def grouped(nodes: set[str], joins: list[Pair], apart: list[tuple[set[str], set[str]]]) -> set[frozenset[str]]:
    """The plain way: everybody alone, then one join after the other, unless it brings together what is ruled apart."""
    groups = {each: frozenset([each]) for each in nodes}
    for one, other in joins:
        both = groups[one] | groups[other]
        if not any(both & left and both & right for left, right in apart):
            groups |= dict.fromkeys(both, both)
    return set(groups.values())


class Ledger(RuleBasedStateMachine):
    """People seen together, ruled about, built again; what is held by hand stands beside what was built."""

    def __init__(self) -> None:
        super().__init__()
        self.evidence = Evidence()
        self.day = 1
        self.map, self.events = empty(IDENTITY_MAP.columns), empty(IDENTITY_EVENTS.columns)
        self.seen: list[tuple[int, str, str]] = []
        self.rulings: dict[str, tuple[str, set[str], set[str]]] = {}
        self.undone: dict[str, str] = {}
        self.since_build: list[str] = []
        self.came_by_evidence = False
        self.last_seen: dict[str, set[str]] = {}
        for person in PEOPLE:
            self.evidence.visit(on=1, login=person)
        self.build()

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule(one=SOMEBODY, other=SOMEBODY)
    def are_seen_together(self, one: str, other: str) -> None:
        """Both use an address nobody used before."""
        self.day += 1
        address = f"e{self.day}"
        for person in (one, other):
            self.evidence.visit(on=self.day, login=person, email=address)
            self.seen.append((self.day, node("login", person), node("email", address)))
        self.since_build.append("seen")

    @rule(kind=st.sampled_from(["always", "never"]), one=SOMEBODY, other=SOMEBODY)
    def are_ruled_about(self, kind: str, one: str, other: str) -> None:
        left, right = sorted((node("login", one), node("login", other)))
        if left != right and self.fits(kind, {left}, {right}):
            self.rulings[self.next_ruling] = (kind, {left}, {right})
            self.evidence.ruling(kind, left, right)
            self.since_build.append(kind)

    @precondition(lambda self: self.merges)
    @rule(data=st.data())
    def is_undone(self, data: Any) -> None:
        merge = data.draw(st.sampled_from(self.merges))
        if merge["identity_event_id"] in self.undone.values():
            return
        before = self.known_before(merge["known_from"])
        left, right = (before.get(merge[each], set()) for each in ("customer_id", "other_customer_id"))
        if self.fits("undo", left, right):
            self.undone[self.next_ruling] = merge["identity_event_id"]
            self.rulings[self.next_ruling] = ("undo", left, right)
            self.evidence.undo(merge, self.map)
            self.since_build.append("undo")
            self.build_after_undo(merge, left, right)

    @precondition(lambda self: self.rulings)
    @rule(data=st.data())
    def is_withdrawn(self, data: Any) -> None:
        ruling = data.draw(st.sampled_from(sorted(self.rulings)))
        del self.rulings[ruling]
        self.undone.pop(ruling, None)
        self.evidence.withdraw(ruling)
        self.since_build.append("withdraw")

    @precondition(lambda self: self.since_build)
    @rule()
    def build(self) -> None:
        """Everything again from the evidence; the same a second time."""
        self.day += 1
        built, before = self.built(self.map), customer_of(self.map)
        self.came_by_evidence = set(self.since_build) == {"seen"}
        self.since_build = []
        self.map, self.events = built, ledger(built, self.events, self.evidence.rulings())
        self.check_groups()
        self.check_ids(before)
        assert self.built(built).equals(built)
        assert ledger(built, rulings=self.evidence.rulings()).equals(self.events)

    def teardown(self) -> None:
        self.build()

    # --- what must hold -----------------------------------------------------------------------------------------------

    def check_groups(self) -> None:
        nodes = {end for _, *ends in self.seen for end in ends} | {node("login", person) for person in PEOPLE}
        always = [(*left, *right) for kind, left, right in self.rulings.values() if kind == "always"]
        apart = [(left, right) for kind, left, right in self.rulings.values() if kind != "always"]
        joins = [(left, right) for _, left, right in sorted(self.seen)]

        assert set(map(frozenset, self.customers.values())) == grouped(nodes, always + joins, apart)

    def check_ids(self, before: dict[str, str]) -> None:
        now = self.customers
        held: dict[str, set[str]] = {}
        for each, customer in before.items():
            held.setdefault(customer, set()).add(each)
        for customer, nodes in now.items():
            # An id is new, or somebody's who had it when it was last anybody's.
            assert customer not in self.last_seen or nodes & self.last_seen[customer]
            # Who is what somebody was, and nothing else, is that customer.
            same = [name for name, had in held.items() if had == nodes]
            assert same in ([], [customer])
        self.last_seen |= {customer: set(nodes) for customer, nodes in now.items()}
        counts = dict(self.events.group_by("identity_event").len().iter_rows())
        assert len(now) == counts.get("create", 0) + counts.get("undo", 0) - counts.get("retire", 0)
        assert counts.get("ruling", 0) == len(self.evidence.rows["identity_rulings"])

    def build_after_undo(self, merge: dict[str, Any], left: set[str], right: set[str]) -> None:
        """Of a merge by evidence that nothing came after, an undo gives both customers back as they were."""
        is_fresh = (
            self.came_by_evidence
            and self.since_build == ["undo"]
            and merge["known_from"] == self.map["known_from"].max()
        )
        self.build()
        if is_fresh:
            assert left <= self.customers[merge["customer_id"]]
            assert right <= self.customers[merge["other_customer_id"]]

    # --- how it is known ----------------------------------------------------------------------------------------------

    def built(self, before: pl.DataFrame) -> pl.DataFrame:
        visits = frame(INPUTS["web_events"], self.evidence.rows["web_events"]).lazy()
        edges = judged(united([gathered(visits)]), NAMES, standing(self.evidence.rulings()))
        return resolved(edges, before, on=self.day, rulings=self.evidence.rulings())

    def fits(self, kind: str, left: set[str], right: set[str]) -> bool:
        """True when the ruling contradicts none; the plain way and the house agree on it."""
        always = [(*ones, *others) for said, ones, others in self.rulings.values() if said == "always"]
        apart = [(ones, others) for said, ones, others in self.rulings.values() if said != "always"]
        joins = [*always, (*left, *right)] if kind == "always" else always
        kept = apart if kind == "always" else [*apart, (left, right)]
        nodes = {each for pair in joins for each in pair}
        fits = not any(group & ones and group & others for group in grouped(nodes, joins, []) for ones, others in kept)
        stands = standing(self.evidence.rulings())
        assert fits is not bool(contradicted(stands, kind, sorted(left), sorted(right)))
        return fits

    @property
    def customers(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for each, customer in current(self.map.lazy()).select("node_id", "customer_id").collect().iter_rows():
            found.setdefault(customer, set()).add(each)
        return found

    def known_before(self, moment: Any) -> dict[str, set[str]]:
        """The customers as the map had them just before `moment`, row by row."""
        found: dict[str, set[str]] = {}
        for row in self.map.iter_rows(named=True):
            if row["known_from"] < moment and (row["known_to"] is None or row["known_to"] >= moment):
                found.setdefault(row["customer_id"], set()).add(row["node_id"])
        return found

    @property
    def merges(self) -> list[dict[str, Any]]:
        return self.events.filter(pl.col("identity_event") == "merge").to_dicts()

    @property
    def next_ruling(self) -> str:
        return f"r{len(self.evidence.rows['identity_rulings'])}"


def test_any_sequence_of_merges_undos_and_rulings_is_the_plain_partition() -> None:
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=25,
            stateful_step_count=14,
            deadline=None,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
        ),
    )
