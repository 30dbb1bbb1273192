"""SendGrid's event webhook: signatures over timestamp and raw body, one event many times, its words in ours."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from etl.bronze.tables import REASONS
from etl.connect import Connection
from etl.connect.files import read_files
from etl.connect.page import Page
from etl.errors import DeclarationError, SourceRefused
from etl.model import Files, Window
from etl.silver.email_events import EMAIL_EVENTS, standardise_email_events
from etl.silver.standardise import picked
from etl.sources.sendgrid_events import EVENTS, SOURCE
from tests.sources.fed import fed, landed

DAY = Window.parse("2026-01-02")
AT = int(DAY.start.timestamp()) + 60
KEY, OTHER = ec.derive_private_key(7, ec.SECP256R1()), ec.derive_private_key(8, ec.SECP256R1())


def public(key: ec.EllipticCurvePrivateKey) -> str:
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def event(ident: str, **more: Any) -> dict[str, Any]:
    return {"sg_event_id": ident, "email": "a@example.com", "event": "open", "timestamp": AT, **more}


def request(text: str, key: ec.EllipticCurvePrivateKey = KEY, **changed: Any) -> str:
    signature = base64.b64encode(key.sign(b"1767312060" + text.encode(), ec.ECDSA(SHA256()))).decode()
    kept = {"received_at": "2026-01-02T00:01:00Z", "timestamp": "1767312060", "signature": signature, "body": text}
    return json.dumps({**kept, **changed})


def read(folder: Path, *lines: str, secret: str = public(KEY)) -> Page:
    (folder / "requests.jsonl").write_text("\n".join(lines) + "\n")
    assert isinstance(EVENTS.request, Files)
    (page,) = read_files(SOURCE, EVENTS, EVENTS.request, Connection(str(folder), secret), DAY)
    return page


def test_the_events_of_a_signed_request_come_to_the_byte(tmp_path: Path) -> None:
    first, second = '{"sg_event_id":"1",  "n":1.10}', '{"sg_event_id":"2","city":"Köln"}'
    page = read(tmp_path, request(f"[{first},\r\n{second}]\r\n"))

    assert ([first.encode(), second.encode()], 0) == (page.records, len(page.rejected))


BODY = json.dumps([event("1")])


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(request(BODY, OTHER), id="another's key"),
        pytest.param(request(BODY, body=BODY + " "), id="body changed by a space"),
        pytest.param(request(BODY, timestamp="1767312061"), id="another time"),
        pytest.param(request(BODY, signature="%%%"), id="no base64"),
        pytest.param(request(BODY, signature=""), id="empty"),
        pytest.param(request(BODY, signature=None), id="none"),
        pytest.param("[]", id="no request"),
        pytest.param(request(BODY, body="\ud800"), id="no text"),
    ],
)
def test_a_request_whose_signature_does_not_hold_is_a_dead_letter_alone(tmp_path: Path, line: str) -> None:
    page = read(tmp_path, line, request(BODY))

    assert ([(line.encode(), "bad_signature")], 1) == (page.rejected, len(page.records))
    assert "bad_signature" in REASONS


@pytest.mark.parametrize("line", [request("{"), request("{}"), "{"], ids=["cut body", "no list", "cut line"])
def test_what_cannot_be_read_is_a_dead_letter_of_its_own(tmp_path: Path, line: str) -> None:
    assert [(line.encode(), "unreadable_json")] == list(read(tmp_path, line).rejected)


@pytest.mark.parametrize("secret", ["", "SG.hidden", "AAAA"])
def test_a_secret_that_is_no_key_is_refused_unseen(tmp_path: Path, secret: str) -> None:
    with pytest.raises(SourceRefused, match="verification key") as refusal:
        read(tmp_path, request(BODY), secret=secret)

    assert not secret or secret not in str(refusal.value)


def test_signed_requests_are_lines_of_json() -> None:
    with pytest.raises(DeclarationError, match="jsonl"):
        Files(pattern="*.csv", format="csv", is_signed=True)


def test_an_event_that_comes_46_times_counts_once(tmp_path: Path) -> None:
    page = read(tmp_path, *[request(BODY)] * 46)
    (feed,) = EVENTS.feeds
    bronze = landed(SOURCE, EVENTS, list(page.records), DAY).lazy()
    records = picked(bronze, source=SOURCE, stream=EVENTS, feed=feed, table=EMAIL_EVENTS)
    events = standardise_email_events(records, key=b"k" * 32, country="DE").collect()
    fates = events["_fate"].value_counts().sort("count").to_dicts()

    assert [{"_fate": "out", "count": 1}, {"_fate": "deduplicated", "count": 45}] == fates


def test_two_events_of_one_address_are_two_records() -> None:
    assert ["1", "2"] == sorted(landed(SOURCE, EVENTS, [event("1"), event("2")], DAY)["_id"])


def test_steps_on_the_way_feed_nothing() -> None:
    (row,) = fed(SOURCE, EVENTS, "email_events", [event("1", event="deferred")], DAY)

    assert "filtered" == row["_fate"]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("processed", "sent"),
        ("delivered", "delivered"),
        ("open", "opened"),
        ("click", "clicked"),
        ("bounce", "bounced"),
        ("unsubscribe", "unsubscribed"),
        ("group_unsubscribe", "unsubscribed"),
        ("spamreport", "complained"),
    ],
)
def test_what_became_of_a_message_is_picked_whole(theirs: str, ours: str) -> None:
    told = event("1", event=theirs, marketing_campaign_id="c1", marketing_campaign_name="Winter")
    (row,) = fed(SOURCE, EVENTS, "email_events", [told], DAY)

    assert {
        "event_id": "1",
        "email": "a@example.com",
        "campaign_id": "c1",
        "campaign_name": "Winter",
        "email_event": ours,
        "event_at": datetime(2026, 1, 2, 0, 1, tzinfo=UTC),
    } == {name: value for name, value in row.items() if name != "_fate"}
