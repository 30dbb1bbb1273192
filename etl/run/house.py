"""The house, opened: settings, catalogue, lake and how to reach each source. Every step is handed one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from etl import demo
from etl.catalog import Catalog, load_catalog
from etl.connect import Connection
from etl.lake import Lake
from etl.model import Source
from etl.run.tokens import RefreshTokens
from etl.settings import Settings, SourceSettings


@dataclass(frozen=True)
class House:
    """`reached` says how each active source is reached here; it overrides what the declaration says."""

    settings: Settings
    catalog: Catalog
    lake: Lake
    reached: Mapping[str, SourceSettings]

    def connection(self, source: Source) -> Connection:
        """Where `source` is reached, with its secret, which never leaves memory."""
        here = self.reached.get(source.name, SourceSettings())
        return Connection(
            base_url=here.base_url or source.base_url,
            secret=here.secret,
            account=here.account or source.account,
            allow_private=here.allow_private,
            tokens=RefreshTokens(self.settings.home / "keys" / "refresh_tokens" / f"{source.name}.json"),
        )


def open_house(settings: Settings, reached: Mapping[str, SourceSettings] | None = None) -> House:
    """The house of these settings; the lake is made when it is not there yet.

    Raises: LakeTooNew, NameRefused, DeclarationError, SettingsError.
    """
    reached = settings.sources if reached is None else {**reached, **settings.sources}
    active = demo.SOURCES if settings.is_demo and not settings.declarations else tuple(reached)
    chosen = {name: here.streams for name, here in reached.items() if here.streams}
    streams = {**demo.STREAMS, **chosen} if settings.is_demo else chosen
    return House(settings, load_catalog(active, settings.declarations, streams), Lake(settings.lake), reached)
