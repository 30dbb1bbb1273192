"""Google Analytics 4: the BigQuery export, asked of BigQuery itself.

API: BigQuery REST v2, jobs.query and jobs.getQueryResults,
https://cloud.google.com/bigquery/docs/reference/rest/v2/jobs/query. The account is `project.dataset`
(`my-shop.analytics_123456`). The records are those of the files `ga4` reads, and feed the same subject. Quirks:

- One table a day, `events_YYYYMMDD`, of the property's zone; it is written anew for up to three days, so the last
  three are read again and replaced. `events_intraday_` is not final and never read.
- A day whose table is not there has not come yet: an error that says so, never an empty day. Only days before the
  first table are empty, and only where tables never expire.
- Rows are cells without names (`f`, `v`) in the order of the schema, numbers as texts. They become objects with the
  schema's names; what is null is left out, as in the files.

A query scans the day's whole table, which is what Google bills. Not verified against the live API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from etl.errors import SourceError
from etl.model import Ask, Auth, Kind, Limits, Line, Own, Pick, Source, Stream, Window
from etl.sources.ga4 import EVENTS as EXPORTED

#: Rows a page; BigQuery sends at most 10 MB whatever is asked.
PAGE = 10_000
#: Seconds BigQuery keeps an asker waiting before it says that the query still runs.
WAITS = 30
#: Looks at a running query, of `WAITS` seconds each, before it is given up.
LOOKS = 60

_PREFIX = "events_"


def read(line: Line, window: Window) -> Iterator[Sequence[bytes]]:
    """Every event of the window's days. Raises: SourceError when a day's table is not there."""
    project, _, dataset = line.account.rpartition(".")
    if not project:
        raise SourceError(
            f"ga4_bigquery: account {line.account!r} names no dataset; expected project.dataset, as in "
            "my-shop.analytics_123456"
        )
    known = _tables(line, project, dataset)
    first = min(known, default="")
    is_forever = first != "" and not known[first]
    for day in window.days:
        table = f"{_PREFIX}{day:%Y%m%d}"
        if table in known:
            yield from _rows(line, project, dataset, table)
        elif not (is_forever and table < first and f"{_PREFIX}{window.days[-1]:%Y%m%d}" >= first):
            raise SourceError(
                f"ga4_bigquery: there is no table {table} in {dataset}; expected the day's export, which comes up to "
                "a day late (events_intraday_ is not final); nothing was written; run the window again when it is there"
            )


def _tables(line: Line, project: str, dataset: str) -> dict[str, bool]:
    """The export's daily tables, and whether each expires."""
    known: dict[str, bool] = {}
    token = ""
    while True:
        told = line.ask(
            Ask(
                path=f"/bigquery/v2/projects/{project}/datasets/{dataset}/tables",
                records="tables",
                params={"maxResults": "1000", **({"pageToken": token} if token else {})},
            )
        )
        for table in map(json.loads, told.records):
            name = table["tableReference"]["tableId"]
            if name.removeprefix(_PREFIX).isdigit():
                known[name] = "expirationTime" in table
        following = json.loads(told.body).get("nextPageToken", "")
        if not following:
            return known
        token = _other(following, token)


def _rows(line: Line, project: str, dataset: str, table: str) -> Iterator[Sequence[bytes]]:
    answer = json.loads(
        line.ask(
            Ask(
                path=f"/bigquery/v2/projects/{project}/queries",
                method="POST",
                records=None,
                json={
                    # The table's name is made of a date alone; where it is, the defaults say.
                    "query": f"SELECT * FROM `{table}`",  # noqa: S608
                    "defaultDataset": {"projectId": project, "datasetId": dataset},
                    "useLegacySql": False,
                    "maxResults": PAGE,
                    "timeoutMs": WAITS * 1000,
                },
            )
        ).body
    )
    job = answer["jobReference"]
    page, looks, got, token = answer, 0, 0, ""
    while True:
        if page.get("jobComplete"):
            answer = page if "schema" in page else {**answer, **page}
            rows = decoded(page.get("rows", ()), answer["schema"]["fields"])
            got += len(rows)
            yield rows
            if not page.get("pageToken"):
                break
            token = _other(page["pageToken"], token)
        elif looks == LOOKS:
            raise SourceError(f"ga4_bigquery: the query of {table} still runs after {LOOKS * WAITS} s; run it again")
        else:
            looks += 1
        page = json.loads(
            line.ask(
                Ask(
                    path=f"/bigquery/v2/projects/{project}/queries/{job['jobId']}",
                    records=None,
                    params={
                        "location": job.get("location", "US"),
                        "maxResults": str(PAGE),
                        "timeoutMs": str(WAITS * 1000),
                        **({"pageToken": token} if token else {}),
                    },
                )
            ).body
        )
    if got != int(answer.get("totalRows", got)):
        raise SourceError(
            f"ga4_bigquery: {table} has {answer['totalRows']} rows and {got} came; nothing was written; run it again"
        )


def _other(following: str, token: str) -> str:
    """The token of the following page. Raises: SourceError when it is the one just used."""
    if following == token:
        raise SourceError("ga4_bigquery: the same pageToken came twice; nothing was written; run the window again")
    return following


def decoded(rows: Sequence[Mapping[str, Any]], fields: Sequence[Mapping[str, Any]]) -> list[bytes]:
    """Rows of cells as JSON objects in the schema's names."""
    return [json.dumps(_record(row, fields), ensure_ascii=False, separators=(",", ":")).encode() for row in rows]


def _record(row: Mapping[str, Any], fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    named = {field["name"]: _value(cell["v"], field) for field, cell in zip(fields, row["f"], strict=True)}
    return {name: value for name, value in named.items() if value is not None}


def _value(cell: Any, field: Mapping[str, Any]) -> Any:
    if field.get("mode") == "REPEATED":
        return [_one(element["v"], field) for element in cell or ()]
    return _one(cell, field)


def _one(cell: Any, field: Mapping[str, Any]) -> Any:
    """A single value. 64-bit numbers stay texts, as in the files: not every reader of JSON can hold them."""
    if cell is None:
        return None
    kind = field["type"]
    if kind in {"RECORD", "STRUCT"}:
        return _record(cell, field["fields"])
    if kind in {"BOOLEAN", "BOOL"}:
        return cell == "true"
    return float(cell) if kind in {"FLOAT", "FLOAT64"} and cell not in _NO_NUMBERS else cell


_NO_NUMBERS = frozenset({"NaN", "Infinity", "-Infinity", "+Infinity", "Inf", "-Inf", "+Inf"})

EVENTS = Stream(
    name="events",
    kind=Kind.EVENTS,
    request=Own(read),
    id=(),
    at=Pick("event_date", "yyyymmdd"),
    restate_days=3,
    feeds=EXPORTED.feeds,
)

SOURCE = Source(
    name="ga4_bigquery",
    title="Google Analytics 4 in BigQuery",
    base_url="https://bigquery.googleapis.com",
    auth=Auth(scheme="bearer"),
    # 100 requests a second for one user and method; pages are large, so few will do.
    limits=Limits(requests=50, seconds=10.0, concurrency=1),
    errors="google",
    streams=(EVENTS,),
)
