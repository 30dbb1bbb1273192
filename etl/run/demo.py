"""The demo company on the line: its files written, its server answering, and how its sources are reached."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta

from etl.errors import SourceUnreachable
from etl.settings import Settings, SourceSettings, load_settings

PORT_FILE = "demo/server.url"


def last_day(settings: Settings) -> date:
    """The demo's last day."""
    return settings.demo.first_day + timedelta(days=settings.demo.days - 1)


@contextmanager
def demo_company(settings: Settings) -> Iterator[Mapping[str, SourceSettings]]:
    """The company, prepared once and served on 127.0.0.1 while the block runs; gives how each source is reached."""
    with _served(settings) as base_url:
        yield _reached(settings, base_url)


@contextmanager
def _served(settings: Settings) -> Iterator[str]:
    from etl.demo.company import build_company
    from etl.demo.files import prepare
    from etl.demo.server import serve

    size = settings.demo
    prepare(settings.home, people=size.people, days=size.days, seed=size.seed, first_day=size.first_day)
    server = serve(build_company(people=size.people, days=size.days, seed=size.seed, first_day=size.first_day))
    try:
        yield server.base_url
    finally:
        server.stop()


def reached_by_airflow(settings: Settings) -> Mapping[str, SourceSettings]:
    """How Airflow's tasks reach the demo, whose server `c360 airflow start` keeps running beside it.

    Raises: SourceUnreachable when no server was started.
    """
    url = settings.home / PORT_FILE
    if not url.is_file():
        raise SourceUnreachable("the demo company's server is not running; start it with: c360 airflow start")
    return _reached(settings, url.read_text(encoding="utf-8").strip())


def _reached(settings: Settings, base_url: str) -> dict[str, SourceSettings]:
    from etl.demo.server import sources_config

    config = sources_config(base_url, settings.home / "demo" / "files")
    return {
        name: SourceSettings(
            base_url=values["base_url"],
            secret=values.get("secret", ""),
            account=values.get("account", ""),
            allow_private=True,  # it answers on this machine
        )
        for name, values in config.items()
    }


def serve_until_stopped(settings: Settings) -> None:
    """Serve the demo in the foreground, its address in the state folder, until SIGTERM. Airflow's companion."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with _served(settings) as base_url:
        url = settings.home / PORT_FILE
        aside = url.with_suffix(".new")
        aside.write_text(base_url, encoding="utf-8")
        aside.replace(url)
        stop.wait()
        url.unlink(missing_ok=True)


if __name__ == "__main__":
    serve_until_stopped(load_settings())
