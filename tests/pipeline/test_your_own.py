"""The example company, declared in TOML alone: an API, a table and files through the whole pipeline into silver."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from etl.model import Window
from etl.run import pipeline
from etl.run.house import House, open_house
from etl.settings import load_settings
from tests.conftest import ROOT


def order(number: int, placed_at: str, status: str, cents: int, email: str) -> dict[str, Any]:
    customer = {"email": f"{email}@example.com"}
    return {"id": number, "placed_at": placed_at, "status": status, "total_cents": cents, "customer": customer}


ORDERS = [
    order(1, "2026-01-01T10:00:00Z", "paid", 1250, "a"),
    order(2, "2026-01-01T11:00:00Z", "open", 999, "b"),
    order(3, "2026-01-01T23:59:59Z", "refunded", 0, "a"),
    order(4, "2026-01-02T00:00:00Z", "paid", 200, "c"),
]


class Shop(BaseHTTPRequestHandler):
    """GET /orders?since=&until=&limit=&cursor=, for those who hold the token."""

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if self.headers["Authorization"] != "Bearer shop-token":
            self.answer(401, {"error": "no such token"})
            return
        found = [order for order in ORDERS if asked["since"] <= str(order["placed_at"]) < asked["until"]]
        first, size = int(asked.get("cursor", 0)), int(asked["limit"])
        rest = {"next": str(first + size)} if first + size < len(found) else {}
        self.answer(200, {"data": found[first : first + size], **rest})

    def answer(self, status: int, body: Any) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Says nothing."""


@pytest.fixture(scope="module")
def shop_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def company(folder: Path, shop_url: str, **environ: str) -> House:
    """The example with its systems beside it; only the shop's address differs."""
    text = (ROOT / "examples/your_own/lakehouse.toml").read_text(encoding="utf-8")
    assert "https://shop.example.com/api" in text
    here = f'{shop_url}"\nallow_private = true  # "'
    (folder / "lakehouse.toml").write_text(text.replace("https://shop.example.com/api", here), encoding="utf-8")
    with sqlite3.connect(folder / "crm.sqlite") as crm:
        crm.execute("CREATE TABLE customers (customer_no, name, email, country, updated_at, is_gone)")
        crm.executemany(
            "INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?)",
            [
                (7, "Ada Ahlers", "a@example.com", "DE", "2026-01-01 00:00:00", 0),
                (8, "Bo Brandt", "b@example.com", "NL", "2026-01-02 08:00:00", 1),
                (9, "Later", "l@example.com", "NL", "2026-01-03 00:00:00", 0),
            ],
        )
    crm.close()
    exports = folder / "exports"
    exports.mkdir()
    (exports / "callers.csv").write_text("caller_no,phone,mail,surname\n007,+4930123456,a@example.com,Ahlers\n")
    for day, answer in (("01", "yes"), ("02", "no")):
        line = {"decision": day, "mail": "a@example.com", "when": f"2026-01-{day}T12:00:00Z", "answer": answer}
        (exports / f"optins_202601{day}.jsonl").write_text(json.dumps(line) + "\n")
    return open_house(load_settings({"C360_SECRET_SHOP": "shop-token", **environ}, cwd=folder))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, shop_url: str) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("your_own")
    house = company(folder, shop_url)
    window = Window.of_days(date(2026, 1, 1), date(2026, 1, 2))
    lost = [(o.step, o.why) for o in pipeline.run(house, [window], run_id="test") if o.state is not pipeline.State.DONE]
    assert lost == []
    yield house
    shutil.rmtree(folder)


def rows(house: House, name: str, *columns: str) -> list[tuple[Any, ...]]:
    return house.lake.read(house.catalog.table(name)).select(columns).sort(columns).collect().rows()


def test_every_page_of_the_api_is_in_silver(ran: House) -> None:
    orders = ran.lake.read(ran.catalog.table("silver.orders")).select("order_id", pl.col("gross_amount").cast(float))

    assert [("1", 12.5), ("3", 0.0), ("4", 2.0)] == orders.sort("order_id").collect().rows()


def test_the_table_and_the_file_are_persons_and_the_flag_a_tombstone(ran: House) -> None:
    told = rows(ran, "silver.person_records", "source", "record_id", "family_name", "is_deleted")

    assert [
        ("crm", "7", "Ahlers", False),
        ("crm", "8", "Brandt", True),
        ("exports", "007", "Ahlers", False),
    ] == told


def test_decisions_are_in_the_houses_words(ran: House) -> None:
    assert [("01", "granted"), ("02", "withdrawn")] == rows(ran, "silver.consents", "consent_id", "consent_status")


def test_the_three_systems_meet_in_one_customer(ran: House) -> None:
    names = ["silver.orders", "silver.person_records", "silver.consents"]
    nodes = pl.concat(ran.lake.read(ran.catalog.table(name)).select("node_id", "email_key").collect() for name in names)
    customers = ran.lake.read(ran.catalog.table("silver.identity_map")).collect()
    ada = nodes.filter(pl.col("email_key") == nodes["email_key"].mode().first())

    assert 1 == customers.filter(pl.col("node_id").is_in(ada["node_id"].to_list()))["customer_id"].n_unique()


def test_a_wrong_secret_stops_its_source_and_no_other(tmp_path: Path, shop_url: str) -> None:
    house = company(tmp_path, shop_url, C360_SECRET_SHOP="wrong-token")
    window = Window.of_days(date(2026, 1, 1), date(2026, 1, 2))
    lost = {o.step: o.why for o in pipeline.run(house, [window], run_id="test") if o.state is pipeline.State.FAILED}

    assert ["bronze.shop_orders"] == list(lost)
    assert "no such token" in lost["bronze.shop_orders"]
    assert "wrong-token" not in lost["bronze.shop_orders"]
    assert 3 == len(rows(house, "silver.person_records", "record_id"))
