"""Finds everything that is declared, refuses contradictions, and puts the tables in the order the data flows."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, ModuleType

from etl import fields as f
from etl import gold, silver, sources
from etl.bronze.tables import bronze_table
from etl.errors import DeclarationError, NameRefused, SettingsError
from etl.model import Column, Feed, Kind, Layer, Partition, Privacy, Source, Stream, Table, Type
from etl.model.names import checked_name
from etl.sources_toml import sources_in

#: What a builder may ask for by keyword; `etl.run.build` hands it over.
OFFERED = frozenset({"as_of", "window", "key", "currency", "country", "rules", "previous", "since", "versions"})


@dataclass(frozen=True, slots=True)
class Fed:
    """One stream that feeds a subject, and how."""

    source: Source
    stream: Stream
    feed: Feed
    bronze: Table


@dataclass(frozen=True)
class Catalog:
    """The active sources and every table that something flows into, in build order (bronze aside)."""

    sources: tuple[Source, ...]
    tables: tuple[Table, ...]
    bronze: Mapping[str, tuple[Source, Stream, Table]]
    feeds: Mapping[str, tuple[Fed, ...]]

    def source(self, name: str) -> Source:
        """The active source `name`. Raises: NameRefused, with the nearest name, when there is none."""
        checked_name(name, "source")
        for source in self.sources:
            if source.name == name:
                return source
        raise NameRefused(f"source {name!r} is not active here{_near(name, [s.name for s in self.sources])}")

    def stream(self, source: Source, name: str) -> Stream:
        """The stream `name` of `source`. Raises: NameRefused."""
        for stream in source.streams:
            if stream.name == name:
                return stream
        raise NameRefused(f"source {source.name} has no stream {name!r}{_near(name, [s.name for s in source.streams])}")

    def table(self, name: str) -> Table:
        """The silver or gold table `layer.name`. Raises: NameRefused."""
        layer, dot, short = name.partition(".")
        checked_name(layer, "layer")
        checked_name(short if dot else name, "table")
        for table in self.tables:
            if name in (table.full_name, table.name):
                return table
        raise NameRefused(f"there is no table {name!r}{_near(name, [t.full_name for t in self.tables])}")

    def inputs(self, table: Table) -> tuple[str, ...]:
        """Full names of what `table` is built from: bronze first, then silver and gold."""
        active = {t.full_name for t in self.tables}
        fed = dict.fromkeys(fed.bronze.full_name for fed in self.feeds.get(table.full_name, ()))
        return (*fed, *(t.full_name for t in table.inputs if t.full_name in active))

    def knows_customers(self, table: Table) -> bool:
        """True downstream of identity: there `carries_customer` inputs come with their customer."""
        return _knows_customers(table)


def load_catalog(
    active: Iterable[str] | None = None,
    declarations: Sequence[Path] = (),
    streams: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Catalog:
    """Everything declared here and in `declarations`; only the sources named in `active` (None: all built in).

    `streams`: of a source named there, only these streams.

    Raises: DeclarationError when two declarations contradict each other; NameRefused for an unknown source or stream;
    SettingsError when a declarations file cannot be read.
    """
    declared = declared_tables()
    known = {source.name: source for source in declared_sources(declarations)}
    chosen = sources.BUILTIN if active is None else tuple(_known(known, name) for name in active)
    chosen = tuple(_narrowed(source, streams[source.name]) if source.name in streams else source for source in chosen)
    bronze: dict[str, tuple[Source, Stream, Table]] = {}
    for source in chosen:
        for stream in source.streams:
            table = bronze_table(source, stream)
            bronze[table.full_name] = (source, stream, table)
    for table in declared:
        _check_builder(table)
    feeds = _feeds(bronze.values(), {table.name: table for table in declared if table.is_subject})
    return Catalog(chosen, _active(_ordered(declared), feeds), bronze, feeds)


def declared_sources(declarations: Sequence[Path] = ()) -> tuple[Source, ...]:
    """Every source declared here and in `declarations`, active or not. Raises: DeclarationError, SettingsError."""
    subjects = {table.name: table for table in declared_tables() if table.is_subject}
    return tuple(_unique_sources([*sources.BUILTIN, *_declared(declarations, subjects)]).values())


def declared_tables() -> list[Table]:
    """Every silver and gold table declared here. Raises: DeclarationError when a name is declared twice."""
    return _unique_tables(_tables_of(silver) + _tables_of(gold))


def quarantine_of(table: Table) -> Table:
    """Where the rows `table` turned away stand: which, why, and the way back to their record in bronze."""
    return Table(
        layer=Layer.QUARANTINE,
        name=table.name,
        description=f"Rows {table.full_name} turned away, with the rule they broke and the way back to the record.",
        grain="one row per rejected row",
        key=(),
        columns=(
            f.source.required,
            f.stream.required,
            Column(
                "record_hash", Type.STRING, "SHA-256 of the record in bronze: the way back", privacy=Privacy.PSEUDONYM
            ),
            Column("rule", Type.STRING, "the rule that was broken").required,
            Column("reason", Type.STRING, "what was expected, and of which column").required,
            Column("batch", Type.STRING, "the run that turned it away").required,
            f.day.required,
        ),
        partition=Partition.DAY,
        retention_days=365,
    )


def _knows_customers(table: Table) -> bool:
    return any(each.name == "identity_map" or _knows_customers(each) for each in table.inputs)


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(known)}"


def _known(known: Mapping[str, Source], name: str) -> Source:
    checked_name(name, "source")
    if name not in known:
        raise NameRefused(f"source {name!r} is declared nowhere{_near(name, list(known))}")
    return known[name]


def _narrowed(source: Source, names: Sequence[str]) -> Source:
    """The source with these streams only. Raises: NameRefused; DeclarationError where one speaks for a missing one."""
    known = {stream.name: stream for stream in source.streams}
    for name in names:
        if name not in known:
            raise NameRefused(f"source {source.name} has no stream {name!r}{_near(name, list(known))}")
    return replace(source, streams=tuple(stream for stream in source.streams if stream.name in names))


def _unique_sources(declared: Sequence[Source]) -> dict[str, Source]:
    known: dict[str, Source] = {}
    for source in declared:
        if source.name in known:
            raise DeclarationError(f"source {source.name} is declared twice; rename one of the two")
        known[source.name] = source
    return known


def _declared(files: Sequence[Path], subjects: Mapping[str, Table]) -> list[Source]:
    """The sources of Python files (their `SOURCES`) and of TOML files (their sections)."""
    found: list[Source] = []
    for path in files:
        if path.suffix == ".toml":
            found.extend(
                sources_in(path, {name: {c.name: c.allowed for c in t.accepts} for name, t in subjects.items()})
            )
            continue
        spec = importlib.util.spec_from_file_location(f"c360_declarations_{path.stem}", path)
        if spec is None or spec.loader is None or not path.is_file():
            raise SettingsError(f"lakehouse.declarations names {path.name}, and there is no such Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        declared = getattr(module, "SOURCES", None)
        if not isinstance(declared, (tuple, list)) or not all(isinstance(each, Source) for each in declared):
            raise SettingsError(f"{path.name}: expected SOURCES, a tuple of etl.model.Source")
        found.extend(declared)
    return found


def _tables_of(package: ModuleType) -> list[Table]:
    found: dict[int, Table] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        tables = [value for value in vars(module).values() if isinstance(value, Table)]
        # Bronze is not built: what is there came from outside.
        found.update({id(table): table for table in tables if table.layer is not Layer.BRONZE})
    return list(found.values())


def _unique_tables(declared: Sequence[Table]) -> list[Table]:
    known: dict[str, Table] = {}
    for table in declared:
        if known.setdefault(table.full_name, table) is not table:
            raise DeclarationError(f"table {table.full_name} is declared twice; rename one of the two")
    return list(known.values())


def _check_builder(table: Table) -> None:
    """A builder that asks for what nobody hands it is found at import, not at three in the morning."""
    if table.build is None:
        raise DeclarationError(f"{table.full_name} has no build function")
    if table.layer is Layer.GOLD and not _knows_customers(table):
        raise DeclarationError(
            f"{table.full_name}: gold stands downstream of identity; name a table of it among inputs"
        )
    inputs = {each.name for each in table.inputs} | ({"records"} if table.is_subject else set())
    for parameter in inspect.signature(table.build).parameters.values():
        offered = OFFERED if parameter.kind is parameter.KEYWORD_ONLY else inputs
        if parameter.name not in offered:
            raise DeclarationError(
                f"{table.full_name}: its builder asks for {parameter.name!r}; offered: {', '.join(sorted(offered))}"
            )


def _feeds(bronze: Iterable[tuple[Source, Stream, Table]], subjects: Mapping[str, Table]) -> dict[str, tuple[Fed, ...]]:
    found: dict[str, list[Fed]] = {}
    for source, stream, table in bronze:
        for feed in stream.feeds:
            subject = subjects.get(feed.subject)
            where = f"{source.name}.{stream.name}"
            if subject is None:
                raise DeclarationError(f"{where} feeds {feed.subject!r}{_near(feed.subject, list(subjects))}")
            if stream.kind is Kind.SNAPSHOT and subject.partition is Partition.DAY:
                raise DeclarationError(
                    f"{where} is a snapshot and feeds {subject.full_name}, a table of events: each reading repeats "
                    "them; declare it as events, and say when they happened in `at`"
                )
            accepted = {column.name for column in subject.accepts}
            for name in feed.fields:
                if name not in accepted:
                    raise DeclarationError(f"{where} feeds {feed.subject}.{name}{_near(name, sorted(accepted))}")
            found.setdefault(subject.full_name, []).append(Fed(source, stream, feed, table))
    return {name: tuple(feds) for name, feds in found.items()}


def _ordered(tables: Sequence[Table]) -> list[Table]:
    """Inputs before what is built from them; among equals silver before gold, then by name."""
    done: dict[str, Table] = {}
    waiting = sorted(tables, key=lambda table: (table.layer is Layer.GOLD, table.name))
    names = {table.full_name for table in tables}
    for table in tables:
        for each in table.inputs:
            if each.full_name not in names and each.layer is not Layer.BRONZE:
                raise DeclarationError(f"{table.full_name} is built from {each.full_name}, which is declared nowhere")
    while waiting:
        ready = [t for t in waiting if all(i.full_name in done or i.layer is Layer.BRONZE for i in t.inputs)]
        if not ready:
            raise DeclarationError(f"tables wait for each other: {', '.join(table.full_name for table in waiting)}")
        done[ready[0].full_name] = ready[0]
        waiting.remove(ready[0])
    return list(done.values())


def _active(ordered: Sequence[Table], feeds: Mapping[str, tuple[Fed, ...]]) -> tuple[Table, ...]:
    """The tables something flows into: fed by a stream, or built from one that is."""
    active: dict[str, Table] = {}
    for table in ordered:
        if table.full_name in feeds or any(each.full_name in active for each in table.inputs):
            active[table.full_name] = table
    return tuple(active.values())
