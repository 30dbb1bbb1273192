"""The demo company on the line: its files written, its server answering, and how its sources are reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta

from etl.errors import SourceUnreachable
from etl.settings import Settings, SourceSettings

PORT_FILE = "demo/server.url"


def last_day(settings: Settings) -> date:
    """The demo's last day."""
    return settings.demo.first_day + timedelta(days=settings.demo.days - 1)


@contextmanager
def demo_company(settings: Settings, *, port: int = 0) -> Iterator[Mapping[str, SourceSettings]]:
    """The company, prepared once and served on 127.0.0.1 while the block runs; gives how each source is reached."""
    from etl.demo.files import prepare
    from etl.demo.server import serve, sources_config

    size = settings.demo
    files = prepare(settings.home, people=size.people, days=size.days, seed=size.seed, first_day=size.first_day)
    server = serve(files.company, port=port)
    try:
        yield _reached(sources_config(server.base_url, files.root))
    finally:
        server.stop()


def reached_by_airflow(settings: Settings) -> Mapping[str, SourceSettings]:
    """How Airflow's tasks reach the demo, whose server `c360 airflow start` keeps running beside it.

    Raises: SourceUnreachable when no server was started.
    """
    from etl.demo.server import sources_config

    url = settings.home / PORT_FILE
    if not url.is_file():
        raise SourceUnreachable("the demo company's server is not running; start it with: c360 airflow start")
    return _reached(sources_config(url.read_text(encoding="utf-8").strip(), settings.home / "demo" / "files"))


def _reached(config: Mapping[str, Mapping[str, str]]) -> dict[str, SourceSettings]:
    return {
        name: SourceSettings(
            base_url=values["base_url"], secret=values.get("secret", ""), account=values.get("account", "")
        )
        for name, values in config.items()
    }
