"""A small company, built once, and its server; the clients that know its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from etl.demo import Company, DemoServer, build_company, serve
from etl.demo.files import DemoFiles, write_files

TOKENS = {
    "hubspot": {"Authorization": "Bearer demo-hubspot"},
    "klaviyo": {"Authorization": "Klaviyo-API-Key demo-klaviyo", "revision": "2026-07-15"},
    "shopify": {"X-Shopify-Access-Token": "demo-shopify"},
    "mastodon": {"Authorization": "Bearer demo-mastodon"},
    "meta": {"Authorization": "Bearer demo-meta-ads"},
}


@pytest.fixture(scope="session")
def company() -> Company:
    """1,200 people, 14 days."""
    return build_company(people=1200, days=14, seed=7)


@pytest.fixture(scope="session")
def files(company: Company, tmp_path_factory: pytest.TempPathFactory) -> DemoFiles:
    """Its files, once."""
    return write_files(tmp_path_factory.mktemp("home"), company)


@pytest.fixture
def server(company: Company) -> Iterator[DemoServer]:
    """A server of its own for every test, so that faults and `as_of` stay where they are set."""
    with serve(company) as running:
        yield running


@pytest.fixture
def client(server: DemoServer) -> Iterator[httpx.Client]:
    """A client of the server, without tokens."""
    with httpx.Client(base_url=server.base_url, trust_env=False, timeout=20) as connected:
        yield connected


@pytest.fixture(scope="session")
def specs(shared: Path) -> Path:
    """The vendors' own API descriptions."""
    return shared / "specs"
