"""What the company must hold for the rest of the house to be tested on: volumes, dirt, truth, lift, churn."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from etl.demo import Company
from etl.demo.files import DemoFiles
from etl.demo.records import ms_of
from etl.demo.traffic import TRUE_LIFT
from etl.demo.web import SNOWPLOW_COLUMNS


def lines_of(files: DemoFiles, source: str) -> list[str]:
    """Every line of a JSON-lines source, in file order."""
    return [line for path in sorted((files.root / source).iterdir()) for line in path.read_text().splitlines() if line]


def records_of(files: DemoFiles, source: str) -> list[dict[str, object]]:
    """Every readable line of a JSON-lines source."""
    records = []
    for line in lines_of(files, source):
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def snowplow_rows(files: DemoFiles) -> list[dict[str, str]]:
    """Every row of the Snowplow files, by column."""
    rows: list[dict[str, str]] = []
    for path in sorted((files.root / "snowplow").iterdir()):
        with path.open(newline="") as opened:
            rows.extend(csv.DictReader(opened))
    return rows


def test_every_day_has_orders_and_events(company: Company, files: DemoFiles) -> None:
    first = ms_of(company.start)
    days = Counter((order.at - first) // 86_400_000 for order in company.orders)
    quiet = [
        path.name
        for name in ("ga4", "snowplow")
        for path in (files.root / name).iterdir()
        if path.stat().st_size < 5000
    ]

    assert sorted(days) == list(range(company.days))
    assert quiet == []


def test_volumes_follow_the_number_of_people(company: Company, files: DemoFiles) -> None:
    crm = sum(
        len({version.id for version in company.records[key]})
        for key in (("hubspot", "contacts"), ("klaviyo", "profiles"), ("shopify", "customers"))
    ) + len(company.crm_rows)
    scale = company.people_count * company.days / 30
    web = len(lines_of(files, "ga4")) + len(snowplow_rows(files))

    assert 1.4 < crm / company.people_count < 1.8
    assert 20 < web / scale < 32
    assert 0.8 < len(company.orders) / scale < 1.5


def test_the_lift_of_the_experiment_is_really_in_the_orders(files: DemoFiles) -> None:
    told = json.loads((files.truth / "experiment.json").read_text())
    rates = {name: arm["orders"] / arm["exposed_visits"] for name, arm in told["arms"].items()}

    assert told["true_relative_lift"] == TRUE_LIFT
    assert rates["treatment"] / rates["control"] == pytest.approx(1 + TRUE_LIFT, abs=0.2)


def test_people_who_left_do_nothing_afterwards(company: Company) -> None:
    left = {person.number: person.left_at for person in company.people if person.left_at is not None}
    opened = ("OpenEm", "ClckEm")
    owner = {link[2]: link[3] for link in company.truth.record_links if link[:2] == ("klaviyo", "profiles")}
    by_id = {person.person_id: person for person in company.people}
    late_opens = [
        event.id
        for event in company.records["klaviyo", "events"]
        if event.payload
        and event.payload["relationships"]["metric"]["data"]["id"] in opened
        and (gone := by_id[owner[event.payload["relationships"]["profile"]["data"]["id"]]].left_at) is not None
        and event.at >= gone
    ]

    assert len(left) > 0.08 * company.people_count
    assert not [order.id for order in company.orders if order.at > left.get(order.person.number, order.at)]
    assert not [v.at for v in company.visits if v.person and v.at > left.get(v.person.number, v.at)]
    assert late_opens == []


def test_every_planted_bad_row_is_found_and_no_other(company: Company, files: DemoFiles) -> None:
    expected = {
        (row["source"], row["kind"]): row["rows"] for row in json.loads((files.truth / "expected_bad.json").read_text())
    }
    ga4 = records_of(files, "ga4")
    snowplow = snowplow_rows(files)
    readings, exposures = records_of(files, "devices"), records_of(files, "experiments")
    consents = records_of(files, "consent")
    rates = [line.split(",") for line in (files.root / "ecb_rates" / "rates.csv").read_text().splitlines()[1:]]
    orders = [version.payload for version in company.records["shopify", "orders"] if version.payload]
    contacts = [version.payload["properties"] for version in company.records["hubspot", "contacts"] if version.payload]
    metrics = [
        version.payload["relationships"]["metric"]["data"]["id"]
        for version in company.records["klaviyo", "events"]
        if version.payload
    ]
    finals = [row for ages in company.insights.values() for row in ages[-1]]
    found = {
        ("crm_db", "missing_id"): sum(row[0] is None for row in company.crm_rows),
        ("crm_db", "far_future_created_at"): sum(row[15] > "2090" for row in company.crm_rows),
        ("hubspot", "unparsable_birth_date"): sum("x" in c.get("date_of_birth", "") for c in contacts),
        ("hubspot", "broken_email"): sum("@" not in c.get("email", "@") for c in contacts),
        ("ga4", "malformed_line"): len(lines_of(files, "ga4")) - len(ga4),
        ("ga4", "missing_timestamp"): sum("event_timestamp" not in record for record in ga4),
        ("ga4", "far_future_timestamp"): sum(
            int(str(record.get("event_timestamp", 0))) > 4_000_000_000_000_000 for record in ga4
        ),
        ("snowplow", "missing_event_id"): sum(not row["event_id"] for row in snowplow),
        ("snowplow", "far_future_timestamp"): sum(row["derived_tstamp"] > "2090" for row in snowplow),
        ("shopify", "unparsable_amount"): sum(order["total_price"] == "12,O0" for order in orders),
        ("shopify", "unknown_currency"): sum(order["currency"] == "XQX" for order in orders),
        ("shopify", "negative_price"): sum(o["line_items"][0]["price"].startswith("-") for o in orders),
        ("shopify", "far_future_created_at"): sum(order["created_at"] > "2090" for order in orders),
        ("shopify", "missing_id"): sum(order["id"] is None for order in orders),
        ("klaviyo", "unknown_metric"): metrics.count("Unkn0w"),
        ("meta_ads", "unparsable_amount"): sum(row["spend"] == "n/a" for row in finals),
        ("meta_ads", "negative_count"): sum(row["impressions"].startswith("-") for row in finals),
        ("devices", "unparsable_value"): sum(record["value"] == "err" for record in readings),
        ("devices", "missing_device"): sum(record["device_id"] is None for record in readings),
        ("devices", "far_future_timestamp"): sum(str(record["measured_at"]) > "2090" for record in readings),
        ("consent", "unknown_purpose"): sum(record["purpose"] == "telepathy" for record in consents),
        ("consent", "missing_decided_at"): sum(record["decided_at"] is None for record in consents),
        ("experiments", "missing_variant"): sum(record["variant"] is None for record in exposures),
        ("experiments", "far_future_timestamp"): sum(str(record["exposed_at"]) > "2090" for record in exposures),
        ("ecb_rates", "unparsable_rate"): sum(rate[2] == "N/A" for rate in rates),
        ("ecb_rates", "unknown_currency"): sum(len(rate[1]) != 3 for rate in rates),
    }

    assert found == expected


def test_events_are_late_double_and_out_of_order(files: DemoFiles) -> None:
    ga4 = lines_of(files, "ga4")
    snowplow = [row for row in snowplow_rows(files) if row["event_id"]]
    readings = [record for record in records_of(files, "devices") if str(record["measured_at"]) < "2090"]
    ids = Counter(row["event_id"] for row in snowplow)
    times = [json.loads(line).get("event_timestamp", "0") for line in ga4[:200]]

    assert len(ga4) > len(set(ga4))
    assert max(ids.values()) == 2
    assert any(row["derived_tstamp"][:10] < row["collector_tstamp"][:10] for row in snowplow)
    assert times != sorted(times)
    assert any(record["dup"] for record in readings)
    assert any(str(record["measured_at"]) > str(record["received_at"]) for record in readings)


def test_snowplow_rows_fit_their_header_and_robots_are_recognisable(files: DemoFiles) -> None:
    rows = snowplow_rows(files)
    robots = [row for row in rows if row["br_type"] == "Robot"]

    assert tuple(rows[0]) == SNOWPLOW_COLUMNS
    assert all(None not in row and None not in row.values() for row in rows)
    assert {row["page_urlhost"] for row in rows} == {"magazin.nordlicht.example"}
    assert robots
    assert not [row for row in robots if row["user_id"]]


def test_the_canonical_columns_are_spelled_as_the_published_data_spells_them(shared: Path) -> None:
    with (shared / "data" / "snowplow_web_0.15.2" / "source" / "snowplow_web_events.csv").open() as opened:
        published = opened.readline().strip().split(",")
    atomic = [name for name in SNOWPLOW_COLUMNS if not name.startswith("contexts_")]

    assert [name for name in published if not name.startswith(("contexts_", "unstruct_"))] == atomic


def test_some_identifiers_are_shared_and_loyalty_cards_are_not(files: DemoFiles) -> None:
    links = pl.read_parquet(files.truth / "identifier_links.parquet")
    owners = links.group_by("kind", "value").agg(pl.col("person_id").n_unique().alias("people"))
    shared_kinds = set(owners.filter(pl.col("people") > 1)["kind"])

    assert shared_kinds == {"email", "phone", "cookie"}
    assert owners.filter(kind="card")["people"].max() == 1
    assert owners.filter(kind="cookie")["people"].max() > 5  # a kiosk


def test_the_truth_names_a_person_for_every_crm_record_and_order(company: Company, files: DemoFiles) -> None:
    links = pl.read_parquet(files.truth / "record_links.parquet")
    known = {key: set(group["record_id"]) for key, group in links.group_by("source", "stream")}
    people = set(pl.read_parquet(files.truth / "people.parquet")["person_id"])

    for key in (("hubspot", "contacts"), ("klaviyo", "profiles"), ("shopify", "orders"), ("shopify", "customers")):
        assert {version.id for version in company.records[key]} == known[key]
    assert {row[0] for row in company.crm_rows if row[0]} <= known["crm_db", "customers"]
    assert set(links["person_id"]) <= people


def test_revenue_per_person_is_the_sum_of_their_orders(files: DemoFiles) -> None:
    people = pl.read_parquet(files.truth / "people.parquet")
    orders = pl.read_parquet(files.truth / "orders.parquet")
    cents = orders["gross_eur_cents"].sum() - orders["refund_eur_cents"].sum()

    assert round(people["revenue_eur"].sum() * 100) == cents
    assert set(orders["currency"]) == {"EUR", "GBP", "PLN", "USD"}
    assert 0 < (orders["refund_cents"] > 0).sum() < 0.15 * orders.height


def test_the_last_version_of_an_order_agrees_with_the_truth_to_the_cent(company: Company, files: DemoFiles) -> None:
    spoilt = {link[3] for link in company.truth.bad if link[:2] == ("shopify", "orders")}
    truth = {row["order_id"]: row for row in pl.read_parquet(files.truth / "orders.parquet").iter_rows(named=True)}
    last = {version.id: version.payload for version in company.records["shopify", "orders"]}
    readable = {ident: payload for ident, payload in last.items() if payload and payload["id"] and ident not in spoilt}

    for ident, payload in readable.items():
        charged = payload["total_price_set"]["presentment_money"]
        left = payload["current_total_price_set"]["presentment_money"]
        told = (charged["currency_code"], cents_of(charged["amount"]), cents_of(left["amount"]))
        row = truth[ident]
        assert told == (row["currency"], row["gross_cents"], row["gross_cents"] - row["refund_cents"])
        assert sum(line_cents(line) for line in payload["line_items"]) == row["gross_cents"]


def cents_of(amount: str) -> int:
    """`12.30` as 1230, without floating point."""
    whole, _, part = amount.partition(".")
    return int(whole) * 100 + int(part)


def line_cents(line: dict[str, object]) -> int:
    """What a line cost after its discount, in the buyer's cents."""
    price = cents_of(line["price_set"]["presentment_money"]["amount"])  # type: ignore[index]
    off = sum(cents_of(a["amount_set"]["presentment_money"]["amount"]) for a in line["discount_allocations"])  # type: ignore[attr-defined]
    return price * int(line["quantity"]) - off  # type: ignore[call-overload]


def test_the_database_holds_text_times_in_one_form_and_some_on_midnight(files: DemoFiles) -> None:
    with sqlite3.connect(files.root / "crm.sqlite") as database:
        times = [row[0] for row in database.execute("SELECT updated_at FROM customers")]
    database.close()

    assert {len(time) for time in times} == {20}
    assert any(time.endswith("T00:00:00Z") for time in times)


def test_nothing_that_is_served_happened_outside_the_month(company: Company) -> None:
    start, end = ms_of(company.start), ms_of(company.end)
    outside = {
        key: [version.id for version in versions if not start <= version.at < end]
        for key, versions in company.records.items()
    }

    assert {key: ids for key, ids in outside.items() if ids} == {}


def test_reference_rates_are_published_on_working_days_only(company: Company) -> None:
    days = {day for day, _, _ in company.rates}

    assert not [day for day in days if day.weekday() > 4 or (day.month, day.day) == (1, 1)]
    assert min(days) < company.first_day
