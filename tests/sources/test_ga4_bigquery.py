"""The export of GA4 in BigQuery before Google's own description of BigQuery."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from etl.errors import QuotaExhausted, SourceError, SourceRefused
from etl.model import Window
from etl.silver.web_events import WEB_EVENTS
from etl.sources import ga4
from etl.sources.ga4_bigquery import EVENTS, SOURCE
from tests.sources.judges import Talk, talk
from tests.sources.vendors import asked_well, discovery, judged, landed, rows, told

DAY = Window.parse("2026-01-02")
ACCOUNT = "my-shop.analytics_123456"


def field(name: str, kind: str, mode: str = "NULLABLE", *fields: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "type": kind, "mode": mode, **({"fields": list(fields)} if fields else {})}


PARAM = field(
    "value", "RECORD", "NULLABLE",
    field("string_value", "STRING"), field("int_value", "INTEGER"), field("double_value", "FLOAT"),
)  # fmt: skip
SCHEMA = [
    field("event_date", "STRING"),
    field("event_timestamp", "INTEGER"),
    field("event_name", "STRING"),
    field("event_params", "RECORD", "REPEATED", field("key", "STRING"), PARAM),
    field("user_id", "STRING"),
    field("user_pseudo_id", "STRING"),
    field("user_properties", "RECORD", "REPEATED", field("key", "STRING"), PARAM),
    field("device", "RECORD", "NULLABLE", field("category", "STRING")),
    field("geo", "RECORD", "NULLABLE", field("country", "STRING")),
    field("is_active_user", "BOOLEAN"),
    field(
        "collected_traffic_source", "RECORD", "NULLABLE",
        *(field(name, "STRING") for name in ("manual_source", "manual_medium", "manual_campaign_name")),
    ),
    field("items", "RECORD", "REPEATED", field("item_id", "STRING"), field("item_category", "STRING")),
]  # fmt: skip


def cells(*values: Any) -> dict[str, Any]:
    return {"f": [{"v": value} for value in values]}


def param(key: str, text: str | None = None, number: str | None = None, double: str | None = None) -> dict[str, Any]:
    return {"v": cells(key, cells(text, number, double))}


def event(at: int = 0, day: str = "20260102") -> dict[str, Any]:
    return cells(
        day,
        str(1_767_355_200_000_000 + at),
        "view_item",
        [
            param("page_location", "https://shop.example/boots"),
            param("page_referrer", "https://search.example/"),
            param("ga_session_id", None, "1767355100"),
            param("value", None, None, "19.9"),
        ],
        "login-7",
        "123.456",
        [param("email_sha256", "ab" * 32)],
        cells("mobile"),
        cells("Germany"),
        "true",
        cells("news", "email", "winter"),
        [{"v": cells("sku-1", "shoes")}],
    )


class BigQuery:
    """A dataset of daily tables: asked for a page it gives `page` rows; a query takes `looks` looks."""

    def __init__(self, days: dict[str, int], *, page: int = 100, looks: int = 0, expires: bool = False) -> None:
        self.tables = {f"events_{day}": [event(at, day) for at in range(held)] for day, held in days.items()}
        self.page, self.looks, self.expires = page, looks, expires
        self.queried: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/tables"):
            return httpx.Response(200, json=self.listed(request))
        if request.method == "POST":
            self.queried.append(json.loads(request.content)["query"].split("`")[1])
            return httpx.Response(200, json=self.answer("bigquery#queryResponse", 0, self.looks == 0))
        self.looks -= 1
        offset = int(request.url.params.get("pageToken", "0"))
        return httpx.Response(200, json=self.answer("bigquery#getQueryResultsResponse", offset, self.looks <= 0))

    def listed(self, request: httpx.Request) -> dict[str, Any]:
        names = ["dashboard", *self.tables, "events_intraday_20260103", "pseudonymous_users_20260102"]
        at = int(request.url.params.get("pageToken", "0"))
        reference = {"projectId": "my-shop", "datasetId": "analytics_123456", "tableId": names[at]}
        table = {
            "kind": "bigquery#table",
            "tableReference": reference,
            **({"expirationTime": "9"} if self.expires else {}),
        }
        more = {"nextPageToken": str(at + 1)} if at + 1 < len(names) else {}
        return {"kind": "bigquery#tableList", "tables": [table], "totalItems": len(names), **more}

    def answer(self, kind: str, offset: int, done: bool) -> dict[str, Any]:
        job = {"projectId": "my-shop", "jobId": "job_1", "location": "EU"}
        if not done:
            return {"kind": kind, "jobReference": job, "jobComplete": False}
        held = self.tables[self.queried[-1]]
        page = held[offset : offset + self.page]
        more = {"pageToken": str(offset + self.page)} if offset + self.page < len(held) else {}
        found = {"rows": page} if page else {}
        return {
            "kind": kind,
            "jobReference": job,
            "jobComplete": True,
            "schema": {"fields": SCHEMA},
            "totalRows": str(len(held)),
            **found,
            **more,
        }


def asked(server: BigQuery, window: Window = DAY) -> Talk:
    return talk(SOURCE, EVENTS, server, window=window, account=ACCOUNT)


def test_google_knows_what_we_ask_and_what_our_fake_answers(shared: Path) -> None:
    document = discovery(shared, "bigquery.v2.json")
    kept = asked(BigQuery({"20260102": 5}, page=2, looks=2))

    methods = []
    for request, response in zip(kept.requests, kept.responses, strict=True):
        if request.url.path.endswith("/tables"):
            method, schema = "tables.list", "TableList"
        elif request.method == "POST":
            method, schema = "jobs.query", "QueryResponse"
        else:
            method, schema = "jobs.getQueryResults", "GetQueryResultsResponse"
        asked_well(document, method, request)
        judged(document, schema, response.json())
        methods.append(method)
    assert ["tables.list"] * 4 + ["jobs.query"] + ["jobs.getQueryResults"] * 4 == methods
    assert "/bigquery/v2/projects/my-shop/queries/job_1" == kept.requests[-1].url.path
    assert "EU" == kept.requests[-1].url.params["location"]


def test_pages_are_walked_to_the_last_row() -> None:
    kept = asked(BigQuery({"20260102": 5}, page=2))

    assert [2, 2, 1] == [len(page) for page in kept.pages]
    assert 5 == len({record["event_timestamp"] for record in kept.records})


def test_a_query_under_way_is_looked_at_again() -> None:
    assert 3 == len(asked(BigQuery({"20260102": 3}, looks=4)).records)


def test_each_day_is_a_table_and_the_table_of_the_day_is_never_read() -> None:
    server = BigQuery({"20260101": 1, "20260102": 1, "20260103": 0})
    kept = asked(server, Window.parse("2026-01-01--2026-01-03"))

    assert ["events_20260101", "events_20260102", "events_20260103"] == server.queried
    assert 2 == len(kept.records)


def test_a_missing_table_is_an_error_that_says_so() -> None:
    with pytest.raises(SourceError, match=r"there is no table events_20260103 in analytics_123456.*when it is there"):
        asked(BigQuery({"20260102": 1}), Window.parse("2026-01-02--2026-01-03"))
    with pytest.raises(SourceError, match="no table events_20260102"):
        asked(BigQuery({}))
    with pytest.raises(SourceError, match="no table events_20260102"):
        asked(BigQuery({"20260103": 1}))


def test_days_before_the_export_began_are_empty_unless_tables_expire() -> None:
    window = DAY.reaching_back(3)

    assert 1 == len(asked(BigQuery({"20260102": 1}), window).records)
    with pytest.raises(SourceError, match="no table events_20251230"):
        asked(BigQuery({"20260102": 1}, expires=True), window)


def test_an_answer_that_was_cut_off_is_asked_for_again() -> None:
    server, cut = BigQuery({"20260102": 3}), [True]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and cut:
            cut.clear()
            return httpx.Response(200, content=b'{"kind": "bigquery#queryResponse", "jobRef')
        return server(request)

    assert 3 == len(talk(SOURCE, EVENTS, answer, window=DAY, account=ACCOUNT).records)


def test_a_token_that_comes_twice_is_an_error() -> None:
    server = BigQuery({"20260102": 3}, page=1)

    def circle(request: httpx.Request) -> httpx.Response:
        answer = server(request).json()
        return httpx.Response(200, json={**answer, "pageToken": "1"} if "rows" in answer else answer)

    with pytest.raises(SourceError, match="same pageToken came twice"):
        talk(SOURCE, EVENTS, circle, window=DAY, account=ACCOUNT)
    with pytest.raises(SourceError, match="same pageToken came twice"):
        talk(
            SOURCE,
            EVENTS,
            lambda _: httpx.Response(200, json={"kind": "bigquery#tableList", "nextPageToken": "1"}),
            window=DAY,
            account=ACCOUNT,
        )


def test_rows_that_do_not_all_come_are_an_error() -> None:
    server = BigQuery({"20260102": 3})

    def short(request: httpx.Request) -> httpx.Response:
        answer = server(request).json()
        return httpx.Response(200, json={**answer, "totalRows": "4"} if "totalRows" in answer else answer)

    with pytest.raises(SourceError, match="has 4 rows and 3 came"):
        talk(SOURCE, EVENTS, short, window=DAY, account=ACCOUNT)


def test_cells_become_the_objects_of_the_files() -> None:
    (record,) = asked(BigQuery({"20260102": 1})).records

    assert {"key": "ga_session_id", "value": {"int_value": "1767355100"}} == record["event_params"][2]
    assert {"key": "value", "value": {"double_value": 19.9}} == record["event_params"][3]
    assert (True, [{"item_id": "sku-1", "item_category": "shoes"}]) == (record["is_active_user"], record["items"])


def test_its_feed_is_that_of_the_files_and_finds_everything() -> None:
    kept = asked(BigQuery({"20260102": 1}))
    (row,) = rows(SOURCE, EVENTS, WEB_EVENTS, kept.pages, window=DAY).to_dicts()

    assert ga4.EVENTS.feeds == EVENTS.feeds
    assert {
        "event_id": row["_id"],
        "event_name": "view_item",
        "event_at": datetime(2026, 1, 2, 12, tzinfo=UTC),
        "cookie": "123.456",
        "login": "login-7",
        "email_sha256": "ab" * 32,
        "source_session_id": "1767355100",
        "page_url": "https://shop.example/boots",
        "referrer_url": "https://search.example/",
        "utm_source": "news",
        "utm_medium": "email",
        "utm_campaign": "winter",
        "device_type": "mobile",
        "country": "Germany",
        "product_id": "sku-1",
        "category": "shoes",
        "day": row["day"],
    } == told(row)


def test_a_table_written_anew_replaces_its_day() -> None:
    wrapped = landed(SOURCE, EVENTS, asked(BigQuery({"20260102": 2})).pages, window=DAY)

    assert (3, 2) == (EVENTS.restate_days, wrapped.rows["_id"].n_unique())


def test_refusals_are_googles_own_words() -> None:
    def says(status: int, reason: str, message: str) -> Any:
        error = {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}
        return lambda _: httpx.Response(
            status, json={"error": error}, headers={"date": "Fri, 02 Jan 2026 20:00:00 GMT"}
        )

    def refused(answer: Any) -> None:
        talk(SOURCE, EVENTS, answer, window=DAY, account=ACCOUNT)

    with pytest.raises(SourceRefused, match=r"403: Access Denied: no bigquery\.jobs\.create"):
        refused(says(403, "accessDenied", "Access Denied: no bigquery.jobs.create"))
    with pytest.raises(QuotaExhausted, match="Quota exceeded"):
        refused(says(403, "quotaExceeded", "Quota exceeded: your project"))
    with pytest.raises(QuotaExhausted, match="too many table reads"):
        refused(says(403, "rateLimitExceeded", "too many table reads"))


def test_an_account_without_a_dataset_is_refused() -> None:
    with pytest.raises(SourceError, match=r"expected project\.dataset"):
        talk(SOURCE, EVENTS, BigQuery({}), window=DAY, account="my-shop")
