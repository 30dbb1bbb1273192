"""Sources declared in TOML alone: the same values a Python file gives, and every mistake in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from etl.catalog import load_catalog
from etl.errors import SettingsError
from etl.model import Auth, Dlt, Feed, Files, Http, Kind, Limits, Own, Paging, Pick, Source, Sql, Stream
from etl.run.house import open_house
from etl.settings import load_settings
from tests.conftest import ROOT

COMPANY = '[company]\nname = "acme"\nfirst_day = 2026-01-01\n'

REST = """
[sources.shop]
kind = "rest"
base_url = "https://shop.example.com"
auth = { scheme = "header", header = "X-Key", prefix = "Key " }
limits = { requests = 5, seconds = 2, concurrency = 1 }
errors = "shopify"

[[sources.shop.streams]]
name = "orders"
kind = "events"
id = ["no", "line"]
at = { path = "placed", written = "epoch_s" }
deleted = "gone"
restate_days = 2
max_age_days = 90
[sources.shop.streams.request]
path = "/orders"
records = "data.orders"
method = "POST"
json = { since = "{start_iso}", flags = [true, 1] }
headers = { revision = "2026-07-15" }
paging = { style = "keyset", next_at = "next", param = "after", size_param = "limit", size = 10, key = "no", cap = 9 }

[[sources.shop.streams.feeds]]
subject = "orders"
explode = "lines"
where = { "^status" = "paid" }
unless = { kind = ["gift", "test"] }
[sources.shop.streams.feeds.fields]
order_id = "^no"
ordered_at = { path = "^placed", written = "epoch_s" }
currency = { const = "EUR" }
order_status = { path = "^status", values = { PAID = "paid" } }
"""

AT = Pick("placed", "epoch_s")
SHOP = Source(
    name="shop",
    title="shop",
    base_url="https://shop.example.com",
    auth=Auth("header", "X-Key", "Key "),
    limits=Limits(5, 2.0, 1),
    errors="shopify",
    streams=(
        Stream(
            name="orders",
            kind=Kind.EVENTS,
            request=Http(
                path="/orders",
                records="data.orders",
                method="POST",
                json={"since": "{start_iso}", "flags": [True, 1]},
                headers={"revision": "2026-07-15"},
                paging=Paging("keyset", "next", "after", "limit", 10, "no", 9),
            ),
            id=("no", "line"),
            at=AT,
            deleted=Pick("gone", "bool"),
            restate_days=2,
            max_age_days=90,
            feeds=(
                Feed(
                    "orders",
                    {
                        "order_id": Pick("^no"),
                        "ordered_at": Pick("^placed", "epoch_s"),
                        "currency": Pick(const="EUR"),
                        "order_status": Pick("^status", values={"PAID": "paid"}),
                    },
                    explode="lines",
                    where={"^status": ("paid",)},
                    unless={"kind": ("gift", "test")},
                ),
            ),
        ),
    ),
)

SQL = """
[sources.crm]
kind = "sql"
base_url = "sqlite:///crm.sqlite"
[[sources.crm.streams]]
name = "customers"
kind = "entity"
id = "no"
at = "changed"
request = { table = "sales.customers", cursor = "changed", written = "text" }
"""

FILES = """
[sources.exports]
kind = "files"
base_url = "exports"
[[sources.exports.streams]]
name = "callers"
kind = "snapshot"
id = "no"
request = { pattern = "*.csv", format = "csv", columns = ["no", "mail"] }
"""


DLT = """
[sources.desk]
kind = "dlt"
base_url = "https://desk.example.com"
[[sources.desk.streams]]
name = "tickets"
kind = "entity"
id = "no"
at = "changed"
[sources.desk.streams.request]
resource = "desk.py:tickets"
cursor = "changed"
written = "epoch_ms"
arguments = { api_key = "{secret}", since = "{start_iso}", pages = [1, { deep = true }] }
"""


def declared(folder: Path, text: str) -> tuple[Source, ...]:
    (folder / "lakehouse.toml").write_text(COMPANY + text, encoding="utf-8")
    settings = load_settings({}, cwd=folder)
    return load_catalog(tuple(settings.sources), settings.declarations).sources


def test_a_rest_api_in_toml_is_the_same_value_as_in_python(tmp_path: Path) -> None:
    assert (SHOP,) == declared(tmp_path, REST)


def test_tables_and_files_in_toml_are_the_same_values_as_in_python(tmp_path: Path) -> None:
    changed = Pick("changed", "timestamp")
    customers = Stream("customers", Kind.ENTITY, Sql("sales.customers", "changed", "text"), ("no",), changed)
    callers = Stream("callers", Kind.SNAPSHOT, Files("*.csv", "csv", ("no", "mail")), ("no",))

    assert (
        Source("crm", "crm", (customers,), f"sqlite:///{tmp_path}/crm.sqlite"),
        Source("exports", "exports", (callers,), str(tmp_path / "exports")),
    ) == declared(tmp_path, SQL + FILES)


def test_a_query_in_toml_is_the_same_value_as_in_python(tmp_path: Path) -> None:
    query = "SELECT no, coalesce(written, made) AS changed FROM customers"
    text = changed(SQL, 'table = "sales.customers"', f'query = "{query}"')
    (source,) = declared(tmp_path, text)

    assert Sql(query=query, cursor="changed", written="text") == source.streams[0].request


def test_a_resource_of_dlt_in_toml_is_the_same_value_as_in_python(tmp_path: Path) -> None:
    arguments = {"api_key": "{secret}", "since": "{start_iso}", "pages": [1, {"deep": True}]}
    resource = Dlt(f"{tmp_path}/desk.py:tickets", arguments, "changed", "epoch_ms")
    tickets = Stream("tickets", Kind.ENTITY, Own(resource, trims=True), ("no",), Pick("changed", "timestamp"))
    packaged = changed(DLT, "desk.py:tickets", "my_package.desk:all.tickets")

    assert (Source("desk", "desk", (tickets,), "https://desk.example.com"),) == declared(tmp_path, DLT)
    (source,) = declared(tmp_path, packaged)
    assert isinstance(source.streams[0].request, Own)
    assert replace(resource, resource="my_package.desk:all.tickets") == source.streams[0].request.read


def test_the_same_company_may_have_sources_of_both_kinds(tmp_path: Path) -> None:
    names = [source.name for source in declared(tmp_path, "[sources.hubspot]\n" + FILES)]

    assert ["hubspot", "exports"] == names


def test_a_file_of_declarations_may_stand_apart(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(REST, encoding="utf-8")
    text = '[lakehouse]\ndeclarations = ["shop.toml"]\n[sources.shop]\nbase_url = "https://test.example.com"\n'

    assert (SHOP,) == declared(tmp_path, text)


def test_the_example_is_a_company(tmp_path: Path) -> None:
    settings = load_settings({"C360_HOME": str(tmp_path)}, cwd=ROOT / "examples/your_own")
    catalog = load_catalog(tuple(settings.sources), settings.declarations)

    assert ["shop", "crm", "exports"] == [source.name for source in catalog.sources]
    assert {"silver.orders", "silver.person_records", "silver.consents"} <= set(catalog.feeds)


def changed(text: str, old: str, new: str) -> str:
    assert text.count(old) >= 1
    return text.replace(old, new, 1)


MISTAKES = [
    (DLT, "desk.py:tickets", "desk", "streams.tickets.request: dlt resource 'desk': expected module:function"),
    (DLT, '"epoch_ms"', '"epoch_us"', "request.written: unknown written 'epoch_us'; did you mean epoch_s?"),
    (DLT, "{start_iso}", "{secre}", "request: unknown placeholder {secre}; did you mean {secret}?"),
    (DLT, '"{secret}"', '"x123"', "arguments.api_key: secrets do not belong in files, and api_key is one"),
    (changed(DLT, 'cursor = "changed"', ""), "{start_iso}", "2026", "in arguments, or cursor, the field that has the"),
    (SQL, 'table = "sales.customers", ', "", "streams.customers.request: sql request: give a table or a query"),
    (REST, 'kind = "rest"', 'kind = "rset"', "sources.shop.kind: unknown kind 'rset'; did you mean rest?"),
    (REST, 'kind = "rest"\n', "", "sources.shop: kind is missing; expected one of: rest, sql, files"),
    (REST, "limits = {", "limts = {", "sources.shop: unknown key 'limts'; did you mean limits?"),
    (REST, '"header",', '"heeder",', "sources.shop.auth.scheme: unknown scheme 'heeder'; did you mean header?"),
    (REST, '"shopify"', '"shopfy"', "sources.shop.errors: unknown errors 'shopfy'; did you mean shopify?"),
    (REST, "requests = 5", "requests = 0", "sources.shop.limits.requests is 0; expected a whole number, at least 1"),
    (REST, "seconds = 2", 'seconds = "2"', "sources.shop.limits.seconds is '2'; expected a number of seconds above 0"),
    (REST, '"events"', '"event"', "sources.shop.streams.orders.kind: unknown kind 'event'; did you mean events?"),
    (REST, 'at = { path = "placed", written = "epoch_s" }\n', "", "a events stream needs `at`"),
    (REST, 'name = "orders"', 'name = "Orders"', "sources.shop.streams.Orders: stream 'Orders': a name is lower-case"),
    (REST, 'name = "orders"\n', "", "sources.shop.streams.1: name is missing"),
    (REST, '"epoch_s" }', '"epoch" }', "streams.orders.at.written: unknown written 'epoch'; did you mean epoch_s?"),
    (REST, 'deleted = "gone"', 'deleted = "gone..at"', "orders.deleted: path 'gone..at': expected names joined"),
    (REST, 'deleted = "gone"', "deleted = true", "streams.orders.deleted is True; expected a section"),
    (REST, "restate_days = 2", "restate_days = -2", "restate_days is -2; expected a whole number, at least 0"),
    (REST, 'path = "/orders"\n', "", "sources.shop.streams.orders.request: path is missing"),
    (REST, 'method = "POST"', 'method = "PUT"', "request.method: unknown method 'PUT'"),
    (REST, "{start_iso}", "{strat_iso}", "orders.request: unknown placeholder {strat_iso}; did you mean {start_iso}?"),
    (REST, "{start_iso}", "2026", "orders.request: nothing in it tells the window"),
    (REST, "[true, 1]", "2026-01-01", "request.json.flags is 2026-01-01; expected text, a number, true or false"),
    (REST, '"keyset"', '"keyst"', "request.paging.style: unknown style 'keyst'; did you mean keyset?"),
    (REST, ', key = "no"', "", "request.paging: key is missing; style 'keyset' needs it"),
    (REST, 'style = "keyset"', 'stile = "keyset"', "request.paging: unknown key 'stile'; did you mean style?"),
    (REST, 'subject = "orders"', 'subject = "ordrs"', "ordrs.subject: unknown subject 'ordrs'; did you mean orders?"),
    (REST, "order_id =", "ordr_id =", "feeds.orders.fields: unknown column 'ordr_id'; did you mean order_id?"),
    (REST, '{ const = "EUR" }', '{ const = "EUR", path = "x" }', "fields.currency: pick 'x': give a path or a const"),
    (REST, '{ const = "EUR" }', '{ path = "x", zone = "Europe/Berln" }', "unknown zone 'Europe/Berln'; did you mean"),
    (REST, '{ PAID = "paid" }', '{ PAID = "payd" }', "unknown order_status 'payd'; did you mean paid"),
    (REST, '["gift", "test"]', "[1]", "feeds.orders.unless.kind.1 is 1; expected text in quotes"),
    (REST, '"X-Key",', '"X-Key", secret = "s3cr3t",', "auth.secret: secrets do not belong in files"),
    (REST, 'revision = "2026-07-15"', 'Authorization = "s3cr3t"', "set C360_SECRET_SHOP in the environment"),
    (SQL, '"sqlite:///crm.sqlite"', '"postgresql://u:s3cr3t@h/d"', "crm.base_url: secrets do not belong"),
    (SQL, 'table =', 'tabel =', "streams.customers.request: unknown key 'tabel'; did you mean table?"),
    (SQL, '"text"', '"txt"', "customers.request.written: unknown written 'txt'; did you mean text?"),
    (SQL, '"sqlite:///crm.sqlite"', "5", "sources.crm.base_url is 5; expected text in quotes"),
    (FILES, '"csv"', '"cvs"', "exports.streams.callers.request.format: unknown format 'cvs'; did you mean csv?"),
    (FILES, '["no", "mail"]', '"no"', "request.columns is 'no'; expected a list"),
    (FILES, '[[sources.exports.streams]]', "[sources.exports.streams]", "streams is {"),
    ('[sources.x]\nkind = "sql"\n', "sql", "sql", "sources.x: no stream; add a [[sources.x.streams]] section for each"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "old", "new", "said"), MISTAKES, ids=[said[-50:] for *_, said in MISTAKES])
def test_a_mistake_is_one_line_that_names_its_place(tmp_path: Path, text: str, old: str, new: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        declared(tmp_path, changed(text, old, new))

    assert said in str(error.value)
    assert "lakehouse.toml: " in str(error.value)
    assert "\n" not in str(error.value)
    assert "s3cr3t" not in str(error.value)


def test_a_broken_source_says_so_before_anything_is_opened(tmp_path: Path) -> None:
    (tmp_path / "lakehouse.toml").write_text(COMPANY + changed(FILES, '"csv"', '"cvs"'), encoding="utf-8")

    with pytest.raises(SettingsError, match="did you mean csv"):
        open_house(load_settings({}, cwd=tmp_path))
    assert not (tmp_path / "var" / "lake").exists()
