"""What is landed: contacts as a CRM's API tells them, page by page over HTTP, and a table of orders in a database.

    python -m benchmarks.ingest_source --rows 200000     serves until it is ended; its first line is its address

Both are made of a record's number alone, so that whoever compares knows what must have arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

#: The day all records are of.
DAY = date(2026, 1, 2)
_START = datetime(2026, 1, 2, tzinfo=UTC)
PAGE = 100
PATH = "/crm/v3/objects/contacts"

_FIRST = ("Ada", "Émile", "Grace", "Jörg", "Katherine", "Linus", "Noor", "Søren", "Zoë", "李")
_LAST = ("Almeida", "Brontë", "Curie", "Dvořák", "García", "Hopper", "Ivanova", "O'Neill", "Turing", "Yılmaz")
_CITIES = ("Berlin", "København", "Lisboa", "Łódź", "München", "Paris", "São Paulo", "Wien")


def contact(number: int) -> dict[str, Any]:
    """One contact: ten properties, two kinds of associations, as HubSpot nests them. About 700 bytes of JSON."""
    rng = random.Random(number)
    first, last = rng.choice(_FIRST), rng.choice(_LAST)
    moment = _START + timedelta(milliseconds=rng.randrange(86_400_000))
    changed = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    return {
        "id": str(100_000_000 + number),
        "properties": {
            "createdate": "2024-03-01T09:30:00.123Z",
            "lastmodifieddate": changed,
            "firstname": first,
            "lastname": last,
            "email": f"contact.{number}@example.com",
            "phone": f"+49 30 {rng.randrange(10_000_000):07d}" if number % 3 else None,
            "city": rng.choice(_CITIES),
            "lifecyclestage": rng.choice(("lead", "customer", "opportunity", "subscriber")),
            "hs_object_id": str(100_000_000 + number),
            "total_revenue": f"{rng.randrange(1_000_000) / 100:.2f}",
        },
        "createdAt": "2024-03-01T09:30:00.123Z",
        "updatedAt": changed,
        "archived": False,
        "visits": rng.randrange(1000),
        "score": rng.randrange(10_000) / 16,
        "associations": {
            "companies": {"results": [{"id": str(rng.randrange(10_000)), "type": "contact_to_company"}]},
            "deals": {
                "results": [
                    {"id": str(rng.randrange(100_000)), "type": "contact_to_deal"} for _ in range(rng.randrange(3))
                ]
            },
        },
    }


def contacts(rows: int) -> Iterator[dict[str, Any]]:
    """All of them, in the order they are served."""
    return map(contact, range(rows))


# --- over HTTP --------------------------------------------------------------------------------------------------------


class _Answering(asyncio.Protocol):
    """Answers GET with a page; HTTP/1.1 with kept connections, and as little work as can be."""

    def __init__(self, records: list[bytes]) -> None:
        self._records = records
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._came += data
        while b"\r\n\r\n" in self._came:
            head, _, self._came = self._came.partition(b"\r\n\r\n")
            body = self._page(head.split(b" ", 2)[1].decode())
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
            )

    def _page(self, address: str) -> bytes:
        asked = parse_qs(urlsplit(address).query)
        start, size = int(asked.get("after", ["0"])[0]), int(asked.get("limit", ["100"])[0])
        following = start + size
        more = b',"paging":{"next":{"after":"%d"}}' % following if following < len(self._records) else b""
        return b'{"results":[' + b",".join(self._records[start:following]) + b"]" + more + b"}"


async def _serve(records: list[bytes]) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Answering(records), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


# --- in a database ----------------------------------------------------------------------------------------------------

COLUMNS = ("order_id", "customer_id", "email", "status", "amount", "quantity", "weight", "note", "updated_at")


def order(number: int) -> tuple[Any, ...]:
    """One row of the table: nine columns of whole numbers, texts, money, a fraction and a moment; some NULL."""
    rng = random.Random(number)
    moment = _START + timedelta(microseconds=rng.randrange(86_400_000_000))
    return (
        number,
        rng.randrange(500_000),
        f"customer.{rng.randrange(500_000)}@example.com",
        rng.choice(("paid", "shipped", "returned", "open")),
        f"{rng.randrange(10_000_000) / 100:.2f}",
        rng.randrange(1, 9),
        rng.randrange(100_000) / 16,
        None if number % 4 else rng.choice(_CITIES),
        f"{moment:%Y-%m-%d %H:%M:%S.%f}",
    )


def fill_sqlite(path: Path, rows: int) -> None:
    """A SQLite file with the table `orders`; `amount` is kept as text, since SQLite knows no decimals."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE orders (order_id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, email TEXT, status TEXT,"
            " amount TEXT, quantity INTEGER, weight REAL, note TEXT, updated_at TEXT NOT NULL)"
        )
        connection.executemany(f"INSERT INTO orders VALUES ({','.join('?' * len(COLUMNS))})", map(order, range(rows)))  # noqa: S608


def main() -> None:
    """Serve."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--rows", type=int, required=True)
    rows = asked.parse_args().rows
    asyncio.run(
        _serve([json.dumps(each, ensure_ascii=False, separators=(",", ":")).encode() for each in contacts(rows)])
    )


if __name__ == "__main__":
    main()
