"""Every request we send, judged by the vendor's own description of its API."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest

from etl.connect.paging import link_next
from etl.model import Stream
from etl.sources import hubspot, klaviyo, meta_ads
from tests.sources.judges import judge, sent

HUBSPOT_PAGES = [
    {"results": [{"id": "1"}], "paging": {"next": {"after": "200"}}},
    {"results": [{"id": "2"}]},
]
KLAVIYO = "https://a.klaviyo.com"


@pytest.mark.parametrize("stream", [hubspot.CONTACTS, hubspot.CONTACTS_ARCHIVED], ids=lambda stream: stream.name)
def test_hubspot_knows_what_we_ask(stream: Stream, shared: Path) -> None:
    validate = judge(shared / "specs" / "hubspot" / "v3-contacts.json")
    requests = sent(hubspot.SOURCE, stream, HUBSPOT_PAGES)

    for request in requests:
        validate(request)
    assert 2 == len(requests)


def test_the_judge_of_hubspot_sees_a_wrong_operator(shared: Path) -> None:
    validate = judge(shared / "specs" / "hubspot" / "v3-contacts.json")
    (request,) = sent(hubspot.SOURCE, hubspot.CONTACTS, [{"results": []}])
    wrong = request.content.replace(b'"GTE"', b'"BIGGER"')

    with pytest.raises(Exception, match=r"[Ii]nvalid|validation"):
        validate(httpx.Request("POST", request.url, content=wrong, headers={"content-type": "application/json"}))


@pytest.mark.parametrize("stream", klaviyo.SOURCE.streams, ids=lambda stream: stream.name)
def test_klaviyo_knows_what_we_ask(stream: Stream, shared: Path) -> None:
    validate = judge(shared / "specs" / "klaviyo" / f"get_{stream.name}.json")
    following = f"{KLAVIYO}/api/{stream.name}?page%5Bcursor%5D=abc&filter=equals(messages.channel,'email')"
    pages = [{"data": [{"id": "1"}], "links": {"next": following}}, {"data": [{"id": "2"}], "links": {"next": None}}]
    requests = sent(klaviyo.SOURCE, stream, pages)

    for request in requests:
        validate(request)
    assert "Klaviyo-API-Key secret" == requests[1].headers["authorization"]


@pytest.mark.parametrize("stream", klaviyo.SOURCE.streams, ids=lambda stream: stream.name)
def test_klaviyo_allows_the_operators_we_filter_with(stream: Stream, shared: Path) -> None:
    description = json.loads((shared / "specs" / "klaviyo" / f"get_{stream.name}.json").read_text())
    parameters = description["paths"][f"/api/{stream.name}"]["get"]["parameters"]
    allowed = next(p["description"] for p in parameters if p["name"] == "filter")
    (request,) = sent(klaviyo.SOURCE, stream, [{"data": []}])

    for operator, name in re.findall(r"([a-z-]+)\(([a-z_.]+),", request.url.params["filter"].removeprefix("and(")):
        operators = re.search(rf"`{re.escape(name)}`: ([^<]*)", allowed)
        assert operators is not None
        assert f"`{operator}`" in operators[1]


def test_meta_knows_the_parameters_and_fields_we_ask_for(shared: Path) -> None:
    account = json.loads((shared / "specs" / "meta" / "AdAccount.json").read_text())
    insights = json.loads((shared / "specs" / "meta" / "AdsInsights.json").read_text())
    endpoint = next(a for a in account["apis"] if a.get("endpoint") == "insights" and a["method"] == "GET")
    (request,) = sent(meta_ads.SOURCE, meta_ads.INSIGHTS, [{"data": []}])

    assert {"after", *(p["name"] for p in endpoint["params"])} >= set(request.url.params)
    assert {f["name"] for f in insights["fields"]} >= set(meta_ads.FIELDS)
    assert {"since": "2026-01-02", "until": "2026-01-03"} == json.loads(request.url.params["time_range"])
    assert "/v24.0/act_1002003004/insights" == request.url.path


def test_the_links_a_real_mastodon_server_gave_are_read(shared: Path) -> None:
    recorded = (shared / "specs" / "mastodon" / "test_pagination_iterator.yaml").read_text()
    headers = [" ".join(h.split()) for h in re.findall(r"link:\n\s+- (.*?\n.*?\n.*?)\n", recorded)]
    following = [link_next(header) for header in headers if 'rel="next"' in header]

    assert following
    assert all(url and "max_id=" in url and "min_id=" not in url for url in following)
