"""A source may be on the public net; on this machine or a private network only where it is allowed. No net is asked."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path

import httpcore
import pytest

from etl.connect import Connection
from etl.connect.addresses import Guard, is_private
from etl.connect.http import Rhythm, open_client
from etl.connect.paging import Request
from etl.errors import SettingsError, SourceRefused, SourceUnreachable
from etl.model import Auth, Limits
from etl.settings import load_settings

KEY = {"C360_PSEUDONYM_KEY": "k" * 32}


def ask(base: str, *, allow_private: bool = False) -> None:
    rhythm = Rhythm(now=lambda: datetime(2026, 1, 3, tzinfo=UTC), sleep=lambda _: None)
    with open_client(
        Connection(base, "secret", allow_private=allow_private), auth=Auth(scheme="bearer"), limits=Limits(),
        dialect="standard", where="shop.things", rhythm=rhythm,
    ) as client:  # fmt: skip
        client.ask(Request("GET", f"{base}/things"), "data")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1",
    ],
)  # fmt: skip
def test_an_address_off_the_public_net_is_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_public_net_is_not(address: str) -> None:
    assert not is_private(address)


def test_a_name_that_leads_to_a_private_address_is_refused_with_the_way_to_allow_it() -> None:
    guard = Guard("shop", resolve=lambda *_: ["93.184.216.34", "10.0.0.7"])

    with pytest.raises(SourceRefused) as caught:
        guard.connect_tcp("shop.example", 443)

    assert str(caught.value) == (
        "shop: shop.example (10.0.0.7) is a private address; if it is meant, set allow_private = true in "
        "[sources.shop] of lakehouse.toml"
    )


def test_the_address_that_was_judged_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that answers otherwise the second time gains nothing: there is no second time."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    dialled: list[str] = []

    def connect(_backend: object, host: str, *_: object) -> str:
        dialled.append(host)
        return "stream"

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    Guard("shop", resolve=lambda *_: next(answers)).connect_tcp("shop.example", 443)

    assert ["93.184.216.34"] == dialled


def test_the_next_address_is_dialled_when_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[str] = []

    def connect(_backend: object, host: str, *_: object) -> str:
        dialled.append(host)
        if ":" in host:
            raise httpcore.ConnectError("no route")
        return "stream"

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    Guard("shop", resolve=lambda *_: ["2606:4700::1111", "1.1.1.1"]).connect_tcp("shop.example", 443)

    assert ["2606:4700::1111", "1.1.1.1"] == dialled


@pytest.mark.parametrize("trouble", [socket.gaierror("no such name"), UnicodeError("label too long")])
def test_a_name_without_an_address_is_no_connection(trouble: Exception) -> None:
    def resolve(_host: str, _port: int) -> list[str]:
        raise trouble

    with pytest.raises(httpcore.ConnectError, match="has no address"):
        Guard("shop", resolve=resolve).connect_tcp("nowhere.example", 443)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "2130706433"])
def test_a_source_on_this_machine_is_refused_unless_it_is_allowed(host: str) -> None:
    with pytest.raises(SourceRefused, match="allow_private = true"):
        ask(f"http://{host}:9")


def test_a_source_on_this_machine_is_asked_where_it_is_allowed() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

        with pytest.raises(SourceUnreachable, match="refused"):
            ask(f"http://127.0.0.1:{port}", allow_private=True)


def test_the_settings_allow_it_for_one_source(tmp_path: Path) -> None:
    (tmp_path / "lakehouse.toml").write_text(
        '[company]\nname = "acme"\nfirst_day = 2026-01-01\n[sources.matomo]\nallow_private = true\n[sources.stripe]\n'
    )
    sources = load_settings(KEY, cwd=tmp_path).sources

    assert {"matomo": True, "stripe": False} == {name: reached.allow_private for name, reached in sources.items()}


def test_allowing_is_a_yes_or_a_no(tmp_path: Path) -> None:
    (tmp_path / "lakehouse.toml").write_text('[sources.matomo]\nallow_private = "no"\n')

    with pytest.raises(SettingsError, match=r"sources\.matomo\.allow_private is 'no'; expected true or false"):
        load_settings(KEY, cwd=tmp_path)
