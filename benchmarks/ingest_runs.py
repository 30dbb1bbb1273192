"""One contender lands the whole once, in its own process: `python -m benchmarks.ingest_runs NAME ADDRESS FOLDER`.

c360 is the product's own `ingest`, which keeps the window's history, its dead letters, its drift and its ledger. dlt
appends, which is the least it can do, and sends no telemetry.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.ingest_source import COLUMNS, DAY, PAGE, PATH
from etl.model import Source

NOW = datetime(2026, 1, 3, tzinfo=UTC)


# --- c360 -------------------------------------------------------------------------------------------------------------


def c360_rest(address: str, folder: Path) -> None:
    """A stream of an API into bronze."""
    _landed(crm(), address, folder)


def c360_sql(address: str, folder: Path) -> None:
    """A table of a database into bronze, through connectorx."""
    _landed(shop(), address, folder)


def c360_sqlalchemy(address: str, folder: Path) -> None:
    """The same as where connectorx is not installed."""
    from importlib import util

    found = util.find_spec
    util.find_spec = lambda name, *rest: None if name == "connectorx" else found(name, *rest)
    _landed(shop(), address, folder)


def _landed(source: Source, address: str, folder: Path) -> None:
    from etl.connect import Connection
    from etl.lake import Lake
    from etl.model import Window
    from etl.run.ingest import ingest

    connection = Connection(address, allow_private=True)
    ingest(Lake(folder), source, source.streams[0], connection, Window.of_day(DAY), run_id="bench", now=NOW)


def crm() -> Source:
    """The API, declared; as fast as it answers."""
    from etl.model import Http, Kind, Limits, Paging, Pick, Stream

    paging = Paging("cursor", next_at="paging.next.after", param="after", size_param="limit", size=PAGE)
    request = Http(PATH, "results", paging=paging)
    contacts = Stream("contacts", Kind.ENTITY, request, ("id",), Pick("updatedAt", "timestamp"))
    return Source("crm", "CRM", (contacts,), limits=Limits(requests=1_000_000, seconds=1.0))


def shop() -> Source:
    """The database, declared."""
    from etl.model import Kind, Pick, Sql, Stream

    request = Sql("orders", "updated_at", "text")
    return Source(
        "shop", "Shop", (Stream("orders", Kind.ENTITY, request, ("order_id",), Pick("updated_at", "timestamp")),)
    )


# --- dlt --------------------------------------------------------------------------------------------------------------


def dlt_rest(address: str, folder: Path) -> None:
    """Its REST source with its defaults: lists become tables of their own."""
    _loaded(_rest_api(address), folder)


def dlt_rest_flat(address: str, folder: Path) -> None:
    """The same, what is nested kept as JSON."""
    source = _rest_api(address)
    source.max_table_nesting = 0
    _loaded(source, folder)


def dlt_rest_arrow(address: str, folder: Path) -> None:
    """Its REST client alone; pages become Arrow tables, which its normaliser passes through: the least it can cost."""
    import dlt
    import pyarrow as pa
    from dlt.sources.helpers.rest_client.client import RESTClient
    from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator

    paginator = JSONResponseCursorPaginator(cursor_path="paging.next.after", cursor_param="after")
    client = RESTClient(base_url=address, paginator=paginator, data_selector="results")
    text, results = pa.string(), pa.struct({"results": pa.list_(pa.struct({"id": pa.string(), "type": pa.string()}))})
    properties = (
        "createdate", "lastmodifieddate", "firstname", "lastname", "email", "phone", "city", "lifecyclestage",
        "hs_object_id", "total_revenue",
    )  # fmt: skip
    schema = pa.schema(
        {
            "id": text,
            "properties": pa.struct(dict.fromkeys(properties, text)),
            "createdAt": text,
            "updatedAt": text,
            "archived": pa.bool_(),
            "visits": pa.int64(),
            "score": pa.float64(),
            "associations": pa.struct({"companies": results, "deals": results}),
        }
    )

    @dlt.resource(name="contacts")
    def contacts() -> Iterator[Any]:
        waiting: list[Any] = []
        for page in client.paginate(PATH, params={"limit": PAGE}):
            waiting += page
            if len(waiting) >= 25_000:
                yield pa.Table.from_pylist(waiting, schema=schema)
                waiting = []
        if waiting:
            yield pa.Table.from_pylist(waiting, schema=schema)

    _loaded(contacts, folder)


def dlt_sql_pyarrow(address: str, folder: Path) -> None:
    """Its SQL source, rows made into Arrow."""
    _loaded(_sql_table(address, "pyarrow"), folder)


def dlt_sql_connectorx(address: str, folder: Path) -> None:
    """Its SQL source through connectorx."""
    plain = address.replace("postgresql+psycopg2", "postgresql")
    _loaded(_sql_table(address, "connectorx", {"conn": plain, "return_type": "arrow_stream"}), folder)


def _rest_api(address: str) -> Any:
    from dlt.sources.rest_api import rest_api_source

    return rest_api_source(
        {
            "client": {
                "base_url": address,
                "paginator": {"type": "cursor", "cursor_path": "paging.next.after", "cursor_param": "after"},
            },
            "resources": [
                {
                    "name": "contacts",
                    "endpoint": {"path": PATH, "params": {"limit": PAGE}, "data_selector": "results"},
                }
            ],
        }
    )


def _sql_table(address: str, backend: Any, options: dict[str, Any] | None = None) -> Any:
    from dlt.sources.sql_database import sql_table

    return sql_table(
        address,
        table="orders",
        backend=backend,
        backend_kwargs=options or {},
        included_columns=list(COLUMNS),
        reflection_level="full_with_precision",
    )


def _loaded(source: Any, folder: Path) -> None:
    import dlt

    pipeline = dlt.pipeline(
        "bench",
        pipelines_dir=str(folder / "state"),
        destination=dlt.destinations.filesystem(bucket_url=(folder / "lake").as_uri()),
        dataset_name="bronze",
    )
    pipeline.run(source, table_format="delta", write_disposition="append").raise_on_failed_jobs()


RUNS: Mapping[str, Callable[[str, Path], None]] = {
    "c360-rest": c360_rest,
    "c360-sql": c360_sql,
    "c360-sqlalchemy": c360_sqlalchemy,
    "dlt-rest": dlt_rest,
    "dlt-rest-flat": dlt_rest_flat,
    "dlt-rest-arrow": dlt_rest_arrow,
    "dlt-sql-pyarrow": dlt_sql_pyarrow,
    "dlt-sql-connectorx": dlt_sql_connectorx,
}

if __name__ == "__main__":
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    RUNS[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
