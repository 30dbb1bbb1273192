"""Our connectors before the vendors' own descriptions: what we ask, and what our fakes answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse

from etl.connect import Connection, Note
from etl.connect.http import Rhythm
from etl.connect.rest import read_http, read_own
from etl.model import Http, Own, Source, Stream, Window

WINDOW = Window.parse("2026-01-02--2026-01-03")
NOW = datetime(2026, 2, 1, tzinfo=UTC)
Answer = Callable[[httpx.Request], httpx.Response]


@dataclass
class Talk:
    """What was asked, what was answered, the records that came (pages in order), the seconds waited, what was noted."""

    requests: list[httpx.Request] = field(default_factory=list)
    responses: list[httpx.Response] = field(default_factory=list)
    pages: list[list[bytes]] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def records(self) -> list[Any]:
        """Every record, decoded."""
        return [json.loads(record) for page in self.pages for record in page]


def talk(
    source: Source,
    stream: Stream,
    answer: Answer,
    *,
    window: Window = WINDOW,
    secret: str = "secret",
    account: str = "1002003004",
    base_url: str = "",
) -> Talk:
    """A window of the stream read from a function that answers as the vendor would. Raises as the readers do."""
    kept = Talk()

    def answered(request: httpx.Request) -> httpx.Response:
        request.read()
        kept.requests.append(request)
        kept.responses.append(answer(request))
        return kept.responses[-1]

    connection = Connection(base_url or source.base_url, secret, account)
    transport, rhythm = httpx.MockTransport(answered), Rhythm(now=lambda: NOW, sleep=kept.waited.append)
    match stream.request:
        case Http() as request:
            pages = read_http(source, stream, request, connection, window, transport=transport, rhythm=rhythm)
        case Own() as own:
            pages = read_own(source, stream, own, connection, window, transport=transport, rhythm=rhythm)
        case other:
            raise AssertionError(f"not asked over HTTP: {other}")
    for page in pages:
        kept.notes += page.notes
        if page.records or not page.notes:
            kept.pages.append(list(page.records))
    return kept


def one_by_one(answers: list[dict[str, Any]]) -> Answer:
    """These answers, in their order."""
    left = list(answers)
    return lambda _: httpx.Response(200, json=left.pop(0))


def sent(source: Source, stream: Stream, answers: list[dict[str, Any]]) -> list[httpx.Request]:
    """The requests of a walk through these answers, every one of which is a page."""
    kept = talk(source, stream, one_by_one(answers))
    assert len(answers) == len(kept.pages)
    return kept.requests


def readable(node: Any) -> Any:
    """The description without `"example": null`, which its own schema language does not allow, and without its
    OAuth schemes, which the judge cannot follow.
    """
    if isinstance(node, dict):
        return {k: readable(v) for k, v in node.items() if k != "security" and not (k == "example" and v is None)}
    return [readable(one) for one in node] if isinstance(node, list) else node


def described(description: Path) -> OpenAPI:
    """An OpenAPI description as the judge reads it."""
    return OpenAPI.from_dict(readable(json.loads(description.read_text())))


def judge(description: Path) -> Callable[[httpx.Request], None]:
    """Raises what is wrong with a request of ours."""
    api = described(description)
    return lambda request: api.validate_request(_seen(request))


def judge_of_answers(description: Path) -> Callable[[httpx.Request, httpx.Response], None]:
    """Raises what is wrong with a fake's answer."""
    api = described(description)

    def validate(request: httpx.Request, response: httpx.Response) -> None:
        told = MockResponse(
            response.content,
            status_code=response.status_code,
            headers=dict(response.headers),
            content_type=response.headers.get("content-type", "application/json"),
        )
        api.validate_response(_seen(request), told)

    return validate


def _seen(request: httpx.Request) -> MockRequest:
    return MockRequest(
        f"{request.url.scheme}://{request.url.host}",
        request.method.lower(),
        request.url.path,
        args=dict(request.url.params.multi_items()),
        headers=dict(request.headers),
        data=request.content or None,
        content_type=request.headers.get("content-type", "application/json"),
    )
