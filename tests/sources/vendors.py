"""What vendors say of their APIs in other forms than OpenAPI: Google's discovery documents, and recorded traffic; and
a stream's records as the subject's rows.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import polars as pl
import yaml

from etl.bronze.envelope import Batch, Enveloped, enveloped
from etl.model import Source, Stream, Table, Window
from etl.silver.standardise import picked
from tests.sources.judges import WINDOW

# --- discovery documents ----------------------------------------------------------------------------------------------


@functools.cache
def discovery(shared: Path, name: str) -> dict[str, Any]:
    """A discovery document, its schemas as JSON Schema in `definitions`."""
    document: dict[str, Any] = json.loads((shared / "specs" / "google" / name).read_text())
    return {**document, "definitions": {name: _strict(body) for name, body in document["schemas"].items()}}


def judged(document: Mapping[str, Any], schema: str, instance: Any) -> None:
    """Raises: jsonschema.ValidationError when `instance` is no such object; unknown members are faults too."""
    described = {"$ref": f"#/definitions/{schema}", "definitions": document["definitions"]}
    # Not `jsonschema.validate`, which reads the whole description again each time.
    jsonschema.Draft7Validator(described).validate(instance)


def _strict(node: Any) -> Any:
    """A schema of a discovery document as JSON Schema."""
    if isinstance(node, list):
        return [_strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return {"$ref": f"#/definitions/{node['$ref']}"}
    kept = {name: node[name] for name in ("type", "enum", "items") if name in node}
    if kept.get("type") == "any":
        del kept["type"]
    if "items" in kept:
        kept["items"] = _strict(kept["items"])
    if "properties" in node:
        kept["properties"] = {name: _strict(body) for name, body in node["properties"].items()}
        kept["additionalProperties"] = False
    return kept


def asked_well(document: Mapping[str, Any], method: str, request: httpx.Request) -> None:
    """Asserts that `method` (`jobs.query`) knows the request's verb and parameters."""
    described: Any = document
    *resources, name = method.split(".")
    for resource in resources:
        described = described["resources"][resource]
    described = described["methods"][name]
    known = {**document["parameters"], **described.get("parameters", {})}
    assert described["httpMethod"] == request.method
    for parameter, value in request.url.params.multi_items():
        assert parameter in known, f"{method} knows no {parameter}"
        one = known[parameter]
        if one["type"] == "integer":
            assert int(value) <= int(one.get("maximum", value)), f"{parameter}={value}"
        if "enum" in one:
            assert value in one["enum"], f"{parameter}={value}"
    required = {parameter for parameter, one in known.items() if one.get("required") and one["location"] == "query"}
    assert required <= set(request.url.params)
    if "request" in described:
        judged(document, described["request"]["$ref"], json.loads(request.content))


# --- recorded traffic -------------------------------------------------------------------------------------------------


def recorded(cassette: Path) -> list[tuple[httpx.Request, httpx.Response]]:
    """The exchanges of a cassette, in their order."""
    exchanges = []
    for each in yaml.safe_load(cassette.read_text())["interactions"]:
        asked, told = each["request"], each["response"]
        body = told["body"]["string"]
        headers = [(name, value) for name, values in told["headers"].items() for value in values]
        exchanges.append(
            (
                httpx.Request(asked["method"], asked["uri"]),
                httpx.Response(
                    told["status"]["code"],
                    headers=[pair for pair in headers if pair[0].lower() != "transfer-encoding"],
                    content=body if isinstance(body, bytes) else body.encode(),
                ),
            )
        )
    return exchanges


# --- from a vendor's records to a subject's rows ----------------------------------------------------------------------


def landed(source: Source, stream: Stream, pages: Sequence[Sequence[bytes]], *, window: Window = WINDOW) -> Enveloped:
    """The records of a talk in their envelope."""
    records = [record for page in pages for record in page]
    at = datetime(2026, 1, 5, tzinfo=UTC)
    return enveloped(Batch(1, records), source, stream, window, account="1", run_id="run", extracted_at=at)


def rows(
    source: Source, stream: Stream, table: Table, pages: Sequence[Sequence[bytes]], *, window: Window = WINDOW
) -> pl.DataFrame:
    """What the stream's one feed makes of the records."""
    (feed,) = stream.feeds
    wrapped = landed(source, stream, pages, window=window)
    assert wrapped.dead.is_empty()
    return picked(wrapped.rows.lazy(), source=source, stream=stream, feed=feed, table=table).collect()


def told(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a row says: without nulls, and without what every row has."""
    return {name: value for name, value in row.items() if value is not None and not name.startswith("_")}
