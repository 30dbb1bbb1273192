"""What identity answers when it is asked: why, what it refused, and how right it is."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.model.frames import schema_of
from etl.privacy.pseudonyms import KINDS, pseudonym
from etl.serve.identity import Link, busiest, chain, largest, names_of_nodes, refused_edges, scored
from etl.silver.identifiers import key_of
from etl.silver.identity_edges import IDENTITY_EDGES
from tests.golden import KEY, frame_of
from tests.identity.scoring import pairwise

STEADY = settings(deadline=None, derandomize=True, database=None)
DAY_1 = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = schema_of(IDENTITY_EDGES.columns)


def edge(left: str, right: str, kind: str | None, state: str = "used", day: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "left_node_id": left,
        "node_kind": "record",
        "right_node_id": right,
        "edge_kind": kind,
        "edge_count": 1,
        "first_at": DAY_1 + timedelta(days=day),
        "sources": ["crm"],
        "edge_state": state,
        **more,
    }


def edges(*rows: dict[str, Any]) -> pl.DataFrame:
    nodes = sorted({row[end] for row in rows for end in ("left_node_id", "right_node_id")})
    return frame_of([*rows, *(edge(node, node, None) for node in nodes)], SCHEMA)


def steps(links: list[Link] | None) -> list[tuple[str, str, str]] | None:
    return None if links is None else [(link.left, link.kind, link.right) for link in links]


# --- why --------------------------------------------------------------------------------------------------------------


def test_two_records_that_share_a_mailbox_are_one_by_it() -> None:
    told = edges(edge("ann_crm", "mail", "email"), edge("ann_shop", "mail", "email"))

    assert steps(chain(told, "ann_crm", "ann_shop")) == [("ann_crm", "email", "mail"), ("mail", "email", "ann_shop")]


def test_of_two_chains_the_surer_one_is_told() -> None:
    told = edges(
        edge("a", "phone", "phone"), edge("b", "phone", "phone"), edge("a", "card", "card"), edge("b", "card", "card")
    )

    assert [kind for _, kind, _ in steps(chain(told, "a", "b")) or ()] == ["card", "card"]


def test_what_was_refused_joins_nobody_but_is_told_when_asked_for() -> None:
    told = edges(edge("a", "info", "email", "capped"), edge("b", "info", "email", "capped"))

    assert chain(told, "a", "b") is None
    way = chain(told, "a", "b", all_states=True)
    assert way is not None
    assert [link.state for link in way] == ["capped", "capped"]


def test_as_few_refused_edges_as_can_be_are_on_the_way() -> None:
    told = edges(
        edge("a", "kiosk", "cookie", "ambiguous"),
        edge("b", "kiosk", "cookie", "ambiguous"),
        edge("a", "mail", "email"),
        edge("c", "mail", "email"),
        edge("c", "phone", "phone"),
        edge("b", "phone", "phone", "conflict"),
    )
    way = chain(told, "a", "b", all_states=True)

    assert way is not None
    assert [link.state for link in way] == ["used", "used", "used", "conflict"]


def test_a_node_is_itself_without_a_chain() -> None:
    assert chain(edges(edge("a", "b", "email")), "a", "a") == []


LINKS = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 7), st.sampled_from(KINDS)).filter(lambda each: each[0] < each[1]),
    max_size=14,
    unique_by=lambda each: each[:2],
)


def distance(links: list[tuple[int, int, str]], one: int, other: int) -> int | None:
    """The plain way: widen the circle until it holds the other."""
    circle, length = {one}, 0
    while other not in circle:
        wider = circle | {b for a, b, _ in links if a in circle} | {a for a, b, _ in links if b in circle}
        if wider == circle:
            return None
        circle, length = wider, length + 1
    return length


@STEADY
@given(LINKS)
def test_a_chain_is_as_short_as_can_be_and_holds_together(links: list[tuple[int, int, str]]) -> None:
    told = edges(
        *(edge(f"n{a}", f"n{b}", kind) for a, b, kind in links), edge("n0", "n0", None), edge("n7", "n7", None)
    )
    way = chain(told, "n0", "n7")

    assert (None if way is None else len(way)) == distance(links, 0, 7)
    if way:
        assert [link.right for link in way[:-1]] == [link.left for link in way[1:]]
        assert (way[0].left, way[-1].right) == ("n0", "n7")


def test_records_are_named_and_identifiers_only_by_kind_and_pseudonym() -> None:
    node = pseudonym("email", "ann@example.org", key=KEY)
    told = edges(edge("rec", node, "email"))
    told = told.with_columns(
        node_kind=pl.when(pl.col("left_node_id") == node).then(pl.lit("email")).otherwise("node_kind")
    )
    records = pl.DataFrame({"node_id": ["rec"], "source": ["crm"], "stream": ["people"], "record_id": ["7"]})

    assert names_of_nodes(told, records, ["rec", node]) == {"rec": "crm:people:7", node: f"email {node[:12]}"}


@pytest.mark.parametrize(
    ("kind", "value", "same"),
    [
        ("email", " Ann.Smith+shop@GMail.com ", "annsmith@gmail.com"),
        ("phone", "030 1234567", "+49301234567"),
        ("card", "12 34-5", "12345"),
        ("email", "info@example.org", None),
        ("phone", "000000", None),
    ],
)
def test_an_identifier_is_found_however_it_is_written(kind: str, value: str, same: str | None) -> None:
    assert key_of(kind, value, country="DE") == same


# --- what was not believed --------------------------------------------------------------------------------------------


def test_what_the_guards_turned_away_is_counted_by_guard_and_kind() -> None:
    told = edges(
        edge("a", "info", "email", "capped"),
        edge("b", "info", "email", "capped"),
        edge("c", "home", "phone", "conflict"),
        edge("c", "mail", "email"),
    )

    assert refused_edges(told).rows() == [("capped", "email", 2, 1, 2), ("conflict", "phone", 1, 1, 1)]
    assert busiest(told, limit=1).rows() == [("info", "email", "capped", 2, "crm")]


def test_the_largest_customers_are_told_with_what_holds_them() -> None:
    told = edges(edge("a", "mail", "email"), edge("b", "mail", "email"), edge("c", "card", "card"))
    now = pl.DataFrame(
        {
            "node_id": ["a", "b", "mail", "c", "card"],
            "node_kind": ["record", "record", "email", "record", "card"],
            "customer_id": ["c_1", "c_1", "c_1", "c_2", "c_2"],
        }
    )

    assert largest(told, now, limit=2).rows() == [
        ("c_1", 3, 2, "email", "mail", 2),
        ("c_2", 2, 1, "card", "card", 1),
    ]


# --- how right --------------------------------------------------------------------------------------------------------

LABELS = st.lists(st.tuples(st.sampled_from("ABC"), st.sampled_from("xyz")), max_size=12)


@STEADY
@given(LABELS)
def test_scores_are_those_counted_pair_by_pair_and_record_by_record(labels: list[tuple[str, str]]) -> None:
    came = scored(pl.DataFrame(labels, schema={"person_id": pl.String, "customer_id": pl.String}, orient="row"))
    records = range(len(labels))
    plain = pairwise({str(n): labels[n][0] for n in records}, {str(n): labels[n][1] for n in records})

    def mean_share(within: int, of: int) -> float:
        shares = []
        for n in records:
            beside = [m for m in records if labels[m][within] == labels[n][within]]
            shares.append(sum(labels[m][of] == labels[n][of] for m in beside) / len(beside))
        return sum(shares) / len(shares) if shares else 1.0

    whole = sum(
        len({customer for person, customer in labels if person == p}) == 1
        and all(person == p for person, customer in labels if customer in {c for q, c in labels if q == p})
        for p in {person for person, _ in labels}
    )
    people = {person for person, _ in labels}
    assert (came.precision, came.recall, came.f1) == (plain.precision, plain.recall, plain.f1)
    assert came.b_cubed_precision == pytest.approx(mean_share(1, 0))
    assert came.b_cubed_recall == pytest.approx(mean_share(0, 1))
    assert came.exact == (whole / len(people) if people else 1.0)


def test_a_score_of_two_people_taken_for_one() -> None:
    pairs = pl.DataFrame({"person_id": ["A", "A", "B"], "customer_id": ["c", "c", "c"]})
    came = scored(pairs)

    assert (came.precision, came.recall, came.exact) == (1 / 3, 1.0, 0.0)
    assert list(itertools.chain([came.records, came.people, came.customers])) == [3, 2, 1]
