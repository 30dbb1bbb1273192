"""How a client is let in: tokens renewed in time and once, secrets in every place a vendor wants, and in no message."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from etl.connect import Connection
from etl.connect.auth import Credentials
from etl.connect.http import Rhythm, open_client
from etl.connect.paging import Request
from etl.errors import DeclarationError, SourceError, SourceRefused
from etl.model import Auth, Limits

NOW = datetime(2026, 1, 3, 12, tzinfo=UTC)
BASE = "https://api.example"
TOKEN_URL = "https://login.example/token"
REFRESH = {"client_id": "the-client", "client_secret": "client-secret-1", "refresh_token": "refresh-1"}
CLIENT = {"client_id": "the-client", "client_secret": "client-secret-1"}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
ROBOT = {"client_email": "robot@project.example", "private_key": PEM, "private_key_id": "key-7"}

OAUTH = {
    "refresh": (Auth(scheme="oauth2_refresh", token_url=TOKEN_URL), REFRESH),
    "client": (Auth(scheme="oauth2_client", token_url=TOKEN_URL, scopes=("read", "ads")), CLIENT),
    "service account": (Auth(scheme="service_account", token_url=TOKEN_URL, scopes=("analytics",)), ROBOT),
}


class Vendor:
    """Gives out tokens and takes the newest; `lives` is how long they last, `refuses` how many calls are not let in."""

    def __init__(self, *, lives: float | None = 3600, refuses: int = 0) -> None:
        self.now = NOW
        self.lives = lives
        self.refuses = refuses
        self.grants: list[dict[str, str]] = []
        self.calls: list[httpx.Request] = []
        self.slept: list[float] = []
        self.login: Callable[[], httpx.Response] | None = None

    def answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        if request.url.host == "login.example" or request.url.path == "/own/token":
            assert "authorization" not in request.headers
            self.grants.append({name: values[0] for name, values in parse_qs(request.content.decode()).items()})
            if self.login:
                return self.login()
            told = {"access_token": f"access-{len(self.grants)}", "token_type": "Bearer"}
            return httpx.Response(200, json=told if self.lives is None else {**told, "expires_in": self.lives})
        self.calls.append(request)
        if self.refuses:
            self.refuses -= 1
            return httpx.Response(401, json={"message": "token expired"})
        return httpx.Response(200, json={"data": [{"id": 1}]})

    def ask(self, auth: Auth, secret: str | dict[str, str], *requests: Request, later: float = 0.0) -> list[bytes]:
        """The records of these requests (or of one GET), `later` seconds apart."""
        text = secret if isinstance(secret, str) else json.dumps(secret)
        rhythm = Rhythm(now=lambda: self.now, sleep=self.slept.append, jitter=lambda: 0.0)
        records = []
        with open_client(
            Connection(BASE, text), auth=auth, limits=Limits(), dialect="standard", where="shop.things",
            transport=httpx.MockTransport(self.answer), rhythm=rhythm,
        ) as client:  # fmt: skip
            for request in requests or (Request("GET", f"{BASE}/things"),):
                records += client.ask(request, "data")[0]
                self.now += timedelta(seconds=later)
        return records

    @property
    def shown(self) -> list[str]:
        return [call.headers.get("authorization", "") for call in self.calls]


def get(times: int) -> list[Request]:
    return [Request("GET", f"{BASE}/things")] * times


# --- access tokens ----------------------------------------------------------------------------------------------------


def test_a_refresh_token_is_exchanged_for_an_access_token() -> None:
    vendor = Vendor()
    vendor.ask(*OAUTH["refresh"])

    assert [{"grant_type": "refresh_token", **REFRESH}] == vendor.grants
    assert ["Bearer access-1"] == vendor.shown


def test_client_credentials_are_exchanged_for_an_access_token_with_its_scopes() -> None:
    vendor = Vendor()
    vendor.ask(*OAUTH["client"])

    assert [{"grant_type": "client_credentials", "scope": "read ads", **CLIENT}] == vendor.grants
    assert ["Bearer access-1"] == vendor.shown


def test_a_service_account_signs_who_it_is_what_for_and_until_when() -> None:
    vendor = Vendor()
    vendor.ask(*OAUTH["service account"])
    assertion = vendor.grants[0]["assertion"]
    claims = jwt.decode(
        assertion, KEY.public_key(), algorithms=["RS256"], audience=TOKEN_URL,
        options={"verify_exp": False, "verify_iat": False},
    )  # fmt: skip

    assert "urn:ietf:params:oauth:grant-type:jwt-bearer" == vendor.grants[0]["grant_type"]
    assert "key-7" == jwt.get_unverified_header(assertion)["kid"]
    assert {
        "iss": ROBOT["client_email"],
        "aud": TOKEN_URL,
        "scope": "analytics",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 3600,
    } == claims
    assert ["Bearer access-1"] == vendor.shown


def test_the_token_address_may_stand_in_the_key_file() -> None:
    vendor = Vendor()
    vendor.ask(Auth(scheme="service_account", scopes=("analytics",)), {**ROBOT, "token_uri": TOKEN_URL})

    assert 1 == len(vendor.grants)


def test_the_token_address_may_be_a_path_of_the_source() -> None:
    vendor = Vendor()
    vendor.ask(Auth(scheme="oauth2_client", token_url="/own/token"), CLIENT)

    assert 1 == len(vendor.grants)


@pytest.mark.parametrize(("auth", "secret"), OAUTH.values(), ids=OAUTH)
def test_one_access_token_serves_until_shortly_before_its_end(auth: Auth, secret: dict[str, str]) -> None:
    vendor = Vendor(lives=3600)
    vendor.ask(auth, secret, *get(5), later=1180.0)

    # 0 s, 1180 s and 2360 s by the first; at 3540 s its end is a minute away; 4720 s by the second.
    assert ["Bearer access-1"] * 3 + ["Bearer access-2"] * 2 == vendor.shown


def test_a_token_that_lasts_less_than_the_margin_is_not_renewed_at_every_request() -> None:
    vendor = Vendor(lives=60)
    vendor.ask(*OAUTH["client"], *get(4), later=10.0)

    assert ["Bearer access-1"] * 3 + ["Bearer access-2"] == vendor.shown


def test_a_token_without_an_end_serves_until_it_is_not_taken() -> None:
    vendor = Vendor(lives=None)
    vendor.ask(*OAUTH["client"], *get(3), later=100_000.0)

    assert 1 == len(vendor.grants)


def test_a_token_that_is_not_taken_is_renewed_once_and_the_request_asked_again() -> None:
    vendor = Vendor(refuses=1)
    records = vendor.ask(*OAUTH["refresh"])

    assert [b'{"id":1}'] == records
    assert ["Bearer access-1", "Bearer access-2"] == vendor.shown
    assert [] == vendor.slept


def test_a_new_token_that_is_not_taken_either_is_a_refusal_in_the_vendors_words() -> None:
    vendor = Vendor(refuses=99)

    with pytest.raises(SourceRefused, match=r"api\.example does not take the secret \(HTTP 401: token expired\)"):
        vendor.ask(*OAUTH["refresh"])
    assert (2, 2) == (len(vendor.grants), len(vendor.calls))


def test_a_secret_that_cannot_be_renewed_is_refused_at_once() -> None:
    vendor = Vendor(refuses=99)

    with pytest.raises(SourceRefused):
        vendor.ask(Auth(scheme="bearer"), "plain-token")
    assert 1 == len(vendor.calls)


def test_a_refresh_token_that_comes_with_the_answer_takes_the_place_of_the_old_one() -> None:
    vendor = Vendor(refuses=1)
    vendor.login = lambda: httpx.Response(200, json={"access_token": "a", "refresh_token": f"r{len(vendor.grants)}"})
    vendor.ask(*OAUTH["refresh"])

    assert ["refresh-1", "r1"] == [grant["refresh_token"] for grant in vendor.grants]


def test_a_grant_that_is_refused_says_so_in_one_line_and_asks_nothing() -> None:
    vendor = Vendor()
    said = "refresh-1 of the-client was revoked\nby ada@example.org"
    vendor.login = lambda: httpx.Response(400, json={"error": "invalid_grant", "error_description": said})

    with pytest.raises(SourceRefused, match=r"login\.example gives no access token \(HTTP 400: \*\*\* of") as caught:
        vendor.ask(*OAUTH["refresh"])
    assert ([], 1) == (vendor.calls, len(vendor.grants))
    assert "\n" not in str(caught.value)


def test_a_token_server_in_trouble_is_waited_for() -> None:
    vendor = Vendor()
    answers = [httpx.Response(503), httpx.Response(429, headers={"retry-after": "7"})]
    good = httpx.Response(200, json={"access_token": "late"})
    vendor.login = lambda: answers.pop(0) if answers else good
    vendor.ask(*OAUTH["client"])

    assert [0.25, 7.0] == [pytest.approx(seconds) for seconds in vendor.slept]
    assert ["Bearer late"] == vendor.shown


@pytest.mark.parametrize(
    "body", ["<html>", "[]", "{}", '{"access_token": ""}', '{"access_token": "a\\nb"}', "[" * 9999]
)
def test_an_answer_without_a_token_is_a_refusal(body: str) -> None:
    vendor = Vendor()
    vendor.login = lambda: httpx.Response(200, text=body)

    with pytest.raises(SourceError):
        vendor.ask(*OAUTH["client"])
    assert [] == vendor.calls


def test_the_token_server_does_not_send_the_grant_on() -> None:
    vendor = Vendor()
    vendor.login = lambda: httpx.Response(307, headers={"location": "https://evil.example/token"})

    with pytest.raises(SourceRefused, match="gives no access token"):
        vendor.ask(*OAUTH["client"])
    assert 1 == len(vendor.grants)


# --- where the secret stands ------------------------------------------------------------------------------------------


def test_a_token_may_be_a_parameter_and_next_links_carry_it_too() -> None:
    vendor = Vendor()
    asked = (Request("GET", f"{BASE}/things", {"a": "1"}), Request("GET", f"{BASE}/things?a=2&page=2"))
    vendor.ask(Auth(scheme="query", param="key"), "api-key", *asked)

    assert [{"a": "1", "key": "api-key"}, {"a": "2", "page": "2", "key": "api-key"}] == [
        dict(call.url.params) for call in vendor.calls
    ]
    assert ["", ""] == vendor.shown


def test_a_token_may_be_a_field_of_the_form_and_is_then_in_no_address() -> None:
    vendor = Vendor()
    asked = (Request("POST", BASE, {"module": "API"}), Request("POST", BASE, form={"method": "Live"}))
    vendor.ask(Auth(scheme="form", param="token_auth"), "form-token", *asked)

    assert ["token_auth=form-token", "method=Live&token_auth=form-token"] == [
        call.content.decode() for call in vendor.calls
    ]
    assert ["module=API", ""] == [call.url.query.decode() for call in vendor.calls]


def test_a_token_for_the_form_of_a_request_that_has_none_is_a_mistake_in_the_declaration() -> None:
    with pytest.raises(DeclarationError, match="must POST"):
        Vendor().ask(Auth(scheme="form", param="token_auth"), "form-token")


def test_extra_secret_headers_stand_beside_the_access_token_and_only_there() -> None:
    vendor = Vendor()
    auth = Auth(scheme="oauth2_refresh", token_url=TOKEN_URL, extra_headers={"developer-token": "developer_token"})
    vendor.ask(auth, {**REFRESH, "developer_token": "dev-9"})

    assert ("dev-9", "Bearer access-1") == (vendor.calls[0].headers["developer-token"], vendor.shown[0])


def test_extra_secret_headers_stand_beside_a_plain_token() -> None:
    vendor = Vendor()
    vendor.ask(Auth(scheme="bearer", extra_headers={"X-App": "app"}), {"token": "plain", "app": "app-9"})

    assert ("app-9", "Bearer plain") == (vendor.calls[0].headers["x-app"], vendor.shown[0])


@pytest.mark.parametrize(
    ("auth", "secret", "says"),
    [
        (OAUTH["refresh"][0], "", "no secret"),
        (OAUTH["refresh"][0], "just-a-token", "expected JSON with client_id, client_secret, refresh_token"),
        (OAUTH["refresh"][0], json.dumps(CLIENT), "the secret lacks refresh_token"),
        (OAUTH["service account"][0], json.dumps({**ROBOT, "private_key": "nonsense"}), "no RSA key"),
        (Auth(scheme="bearer", extra_headers={"X-App": "app"}), '{"token": "t"}', "the secret lacks app"),
        (Auth(scheme="query", param="key"), "tok\nen", "characters no header can carry"),
    ],
)  # fmt: skip
def test_a_secret_of_the_wrong_form_is_refused_before_anything_is_asked(auth: Auth, secret: str, says: str) -> None:
    vendor = Vendor()

    with pytest.raises(SourceRefused, match=says) as caught:
        vendor.ask(auth, secret)
    assert ([], []) == (vendor.grants, vendor.calls)
    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [{"scheme": "beerer"}, {"scheme": "query"}, {"scheme": "form"}, {"scheme": "oauth2_client"}],
    ids=lambda wrong: str(wrong["scheme"]),
)
def test_a_scheme_that_cannot_work_is_refused_where_it_is_declared(wrong: dict[str, str]) -> None:
    with pytest.raises(DeclarationError):
        Auth(**wrong)  # type: ignore[arg-type]


# --- and nowhere else -------------------------------------------------------------------------------------------------

_PLAIN = {
    "bearer": (Auth(scheme="bearer"), "plain-token-1"),
    "basic": (Auth(scheme="basic"), "user-1:pass-word-1"),
    "header": (Auth(scheme="header", header="X-Key", prefix="Key "), "plain-token-1"),
    "query": (Auth(scheme="query", param="odd_name"), "plain-token-1"),
    "form": (Auth(scheme="form", param="token_auth"), "plain-token-1"),
    "extra": (Auth(scheme="bearer", extra_headers={"X-App": "app"}), {"token": "plain-token-1", "app": "app-secret-1"}),
}


@pytest.mark.parametrize(("auth", "secret"), [*OAUTH.values(), *_PLAIN.values()], ids=[*OAUTH, *_PLAIN])
def test_no_secret_is_in_an_error_a_repr_or_a_log(
    auth: Auth, secret: str | dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """The worst vendor: it says back all it was shown, and puts it into an address too."""
    caplog.set_level(logging.DEBUG)
    vendor = Vendor()
    request = Request("POST" if auth.scheme == "form" else "GET", f"{BASE}/things")
    said: list[str] = []

    def echo(asked: httpx.Request) -> httpx.Response:
        if asked.url.host == "login.example":
            return vendor.answer(asked)
        asked.read()
        said.append(" ".join([str(asked.url), asked.content.decode(), *asked.headers.values()]))
        if "again" not in asked.url.path:
            return httpx.Response(307, headers={"location": f"/again?access_token={said[0][-12:]}"})
        return httpx.Response(403, json={"message": said[0][:40] + " " + said[0][-60:]})

    text = secret if isinstance(secret, str) else json.dumps(secret)
    connection = Connection(BASE, text)
    with open_client(
        connection, auth=auth, limits=Limits(), dialect="standard", where="shop.things",
        transport=httpx.MockTransport(echo), rhythm=Rhythm(now=lambda: NOW),
    ) as client:  # fmt: skip
        with pytest.raises(SourceRefused) as caught:
            client.ask(request, "data")
        shown = [str(caught.value), repr(caught.value), repr(client), repr(connection), caplog.text]
        shown.append(repr(Credentials(auth, connection, "shop.things")))
    parts = [text, *([secret] if isinstance(secret, str) else secret.values()), "access-1", "pass-word-1"]

    assert "httpx" in caplog.text
    assert [] == [part for part in parts if any(part in one for one in shown)]
