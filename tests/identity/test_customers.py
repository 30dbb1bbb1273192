"""Golden records: nothing lost, nothing mixed, and every value can be traced to its record."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.model.frames import schema_of
from etl.silver.customers import ATTRIBUTES, CUSTOMERS, SURVIVORSHIP, build_customers
from etl.silver.identity_edges import IDENTITY_EDGES
from etl.silver.identity_map import IDENTITY_MAP
from etl.silver.person_records import PERSON_RECORDS
from tests.golden import frame_of
from tests.identity.evidence import DAY_1, day

STEADY = settings(deadline=None, derandomize=True, database=None)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "customer_id": st.sampled_from(["c_ann", "c_bob"]),
            "source": st.sampled_from(["crm_db", "hubspot", "shopify"]),
            "given_name": st.sampled_from([None, "Ann", "Anna"]),
            "family_name": st.sampled_from([None, "Lee"]),
            "street": st.sampled_from([None, "Long Road 1", "High Street 2"]),
            "city": st.sampled_from([None, "Kiel", "Bonn"]),
            "email": st.sampled_from([None, "ann@example.org", "a@example.org"]),
            "updated_at": st.sampled_from([None, day(1), day(2), day(3)]),
            "is_deleted": st.sampled_from([False, False, True]),
        }
    ),
    max_size=10,
)


def rows_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**each, "node_id": f"n{number}", "record_id": f"{number}"} for number, each in enumerate(records)]


def customers_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = {**schema_of(PERSON_RECORDS.columns), "customer_id": pl.String()}
    nodes = [("browser", "c_stranger", False), *((row["node_id"], row["customer_id"], True) for row in rows)]
    said = [
        {"node_id": node, "customer_id": customer, "is_known": known, "known_from": DAY_1, "valid_from": DAY_1}
        for node, customer, known in nodes
    ]
    seen = [
        {"left_node_id": node, "right_node_id": node, "edge_state": "used", "sources": ["web"]} for node, _, _ in nodes
    ]
    return build_customers(
        frame_of(rows, schema).lazy(),
        frame_of(said, schema_of(IDENTITY_MAP.columns)).lazy(),
        frame_of(seen, schema_of(IDENTITY_EDGES.columns)).lazy(),
    ).collect()


@STEADY
@given(RECORDS)
def test_every_record_counts_once_and_every_customer_has_a_row(records: list[dict[str, Any]]) -> None:
    rows = rows_of(records)
    customers = customers_of(rows)

    assert customers["record_count"].sum() == len(rows)
    assert set(customers["customer_id"]) == {"c_stranger", *(row["customer_id"] for row in rows)}
    assert dict(customers.schema) == schema_of(CUSTOMERS.columns)


@STEADY
@given(RECORDS)
def test_every_value_stands_in_the_living_record_its_provenance_names(records: list[dict[str, Any]]) -> None:
    rows = {row["node_id"]: row for row in rows_of(records)}
    for customer in customers_of(list(rows.values())).iter_rows(named=True):
        provenance = json.loads(customer["provenance"] or "{}")
        valued = {name for name in ATTRIBUTES if customer[name] is not None and not name.endswith("_key")}

        assert set(provenance) == valued
        for name, origin in provenance.items():
            taken_from = rows[origin["node_id"]]
            assert taken_from[name] == customer[name]
            assert taken_from["source"] == origin["source"]
            assert taken_from["customer_id"] == customer["customer_id"]
            assert not taken_from["is_deleted"]
        assert len({json.dumps(provenance[name]) for name in ("street", "city") if name in provenance}) <= 1


@STEADY
@given(RECORDS.flatmap(lambda records: st.tuples(st.just(records), st.permutations(range(len(records))))))
def test_the_order_of_records_changes_nothing(world: tuple[list[dict[str, Any]], list[int]]) -> None:
    rows = rows_of(world[0])

    assert customers_of([rows[at] for at in world[1]]).equals(customers_of(rows))


def test_every_attribute_has_one_rule_and_is_a_column_of_the_table() -> None:
    assert len(set(ATTRIBUTES)) == len(ATTRIBUTES)
    assert set(ATTRIBUTES) <= set(CUSTOMERS.column_names)
    assert all(set(rule.leading) <= set(rule.together) for rule in SURVIVORSHIP)
