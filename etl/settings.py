"""The only reader of the environment and of lakehouse.toml; everything else is handed one frozen `Settings`.

Order: environment (`C360_...`), then lakehouse.toml (beside you, or where `C360_CONFIG` says), then the defaults.
Without either, the company is the demo company.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets as random_secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from etl.errors import SettingsError
from etl.model.identity import LEAST_LIKELY, USUAL_RULES, IdentityRules

CONFIG_NAME = "lakehouse.toml"
_KNOWN: dict[str, tuple[str, ...]] = {
    "lakehouse": ("home", "lake", "declarations"),
    "company": ("name", "currency", "country", "first_day", "last_day"),
    "dask": ("scheduler", "allow_plain"),
    "demo": ("people", "days", "seed", "first_day"),
    "airflow": ("port", "database"),
    "identity": ("caps", "household_kinds", "link_at", "review_at"),
    "sources": (),
}
_SOURCE_KEYS = ("base_url", "account", "allow_private", "streams", "broker", "topics")
#: Keys whose value could only be a secret, wherever in a source's section they stand.
_SECRET_KEYS = frozenset({"secret", "password", "authorization", "x-api-key", "api_key", "apikey", "access_token"})
#: Sections whose keys are the source's own words, not ours.
_PATHS = frozenset({"fields", "where", "unless", "values"})
_PASSWORD = re.compile(r"[\w+.-]+://[^/@:]*:[^/@]+@")


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """How to reach one source here; empty strings fall back to its declaration.

    `allow_private`: its HTTP address may be one of this machine or a private network. `streams` are the only ones that
    are pulled; none named: all. `broker` and `topics` (MQTT) say
    where the messages come from that `c360 mqtt spool` writes to `base_url`.
    """

    base_url: str = ""
    secret: str = field(default="", repr=False)
    account: str = ""
    allow_private: bool = False
    streams: tuple[str, ...] = ()
    broker: str = ""
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Demo:
    """The fictional company's size; the same values give the same bytes."""

    people: int = 5000
    days: int = 30
    seed: int = 42
    first_day: date = date(2026, 1, 1)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that differs between installations.

    `home` holds all state (keys, docs, demo, airflow, and the lake, where it is not elsewhere); `lake` is a folder, or
    `s3://bucket/folder`. `sources` names the active ones. `declarations` are Python files with `SOURCES` of your own.
    `last_day` None means yesterday.
    """

    home: Path
    lake: Path | str
    is_demo: bool = True
    company: str = "demo"
    reporting_currency: str = "EUR"
    default_country: str = "DE"
    first_day: date = date(2026, 1, 1)
    last_day: date | None = None
    demo: Demo = Demo()
    dask_scheduler: str = ""
    airflow_port: int = 0
    airflow_database: str = field(default="", repr=False)
    declarations: tuple[Path, ...] = ()
    identity: IdentityRules = USUAL_RULES
    sources: Mapping[str, SourceSettings] = field(default_factory=dict)
    config: Path | None = None
    pseudonym_key: bytes = field(default=b"", repr=False)

    @property
    def docs_path(self) -> Path:
        """Where Data Docs and the results they are made from stand."""
        return self.home / "docs"

    @property
    def catalogue_path(self) -> Path:
        """The DuckDB catalogue file analysts open."""
        return self.home / "lakehouse.duckdb"


def load_settings(environ: Mapping[str, str] | None = None, *, cwd: Path | None = None) -> Settings:
    """The settings of this installation; makes the state folder and, once, the pseudonym key.

    Raises: SettingsError in one line when a value cannot be used, with file, key, what was expected and what came.
    """
    environ = os.environ if environ is None else environ
    cwd = cwd or Path.cwd()
    named = environ.get("C360_CONFIG")
    config = (cwd / named) if named else cwd / CONFIG_NAME
    if named and not config.is_file():
        raise SettingsError(f"C360_CONFIG names {named}, and there is no such file; write it or unset the variable")
    table = _read(config) if config.is_file() else {}
    base = config.parent if config.is_file() else cwd
    _check_keys(table, config)

    lakehouse, company, demo = table.get("lakehouse", {}), table.get("company", {}), table.get("demo", {})
    home = (base / _text(environ.get("C360_HOME") or lakehouse.get("home", "var"), "lakehouse.home", config)).resolve()
    lake = _text(environ.get("C360_LAKE") or lakehouse.get("lake", ""), "lakehouse.lake", config)
    size = Demo(
        people=_whole(environ.get("C360_DEMO_PEOPLE") or demo.get("people", 5000), "demo.people", config, least=10),
        days=_whole(environ.get("C360_DEMO_DAYS") or demo.get("days", 30), "demo.days", config, least=4),
        seed=_whole(environ.get("C360_DEMO_SEED") or demo.get("seed", 42), "demo.seed", config, least=0),
        first_day=_day(demo.get("first_day", date(2026, 1, 1)), "demo.first_day", config),
    )
    name = _text(company.get("name", "demo"), "company.name", config)
    sources = {
        source: SourceSettings(
            base_url=address(_text(values.get("base_url", ""), f"sources.{source}.base_url", config), base),
            secret=environ.get(f"C360_SECRET_{source.upper()}", ""),
            account=_text(values.get("account", ""), f"sources.{source}.account", config),
            allow_private=_yes_or_no(values.get("allow_private", False), f"sources.{source}.allow_private", config),
            # In a section that declares its source, `streams` are the declarations: all of them are pulled.
            streams=()
            if is_declared(values)
            else _texts(values.get("streams", []), f"sources.{source}.streams", config),
            broker=_text(values.get("broker", ""), f"sources.{source}.broker", config),
            topics=_texts(values.get("topics", []), f"sources.{source}.topics", config),
        )
        for source, values in table.get("sources", {}).items()
    }
    is_demo = name == "demo"
    if not is_demo and not sources:
        raise SettingsError(f"{config.name}: company {name!r} has no sources; add a [sources.NAME] section for each")
    last_day = company.get("last_day")
    return Settings(
        home=home,
        lake=_lake(lake, base, home),
        is_demo=is_demo,
        company=name,
        reporting_currency=_match(company.get("currency", "EUR"), r"[A-Z]{3}", "company.currency", config),
        default_country=_match(company.get("country", "DE"), r"[A-Z]{2}", "company.country", config),
        first_day=size.first_day if is_demo else _day(company.get("first_day"), "company.first_day", config),
        last_day=_day(last_day, "company.last_day", config) if last_day is not None else None,
        demo=size,
        dask_scheduler=_scheduler(
            _text(
                environ.get("C360_DASK_SCHEDULER") or table.get("dask", {}).get("scheduler", ""),
                "dask.scheduler",
                config,
            ),
            allow_plain=_yes_or_no(table.get("dask", {}).get("allow_plain", False), "dask.allow_plain", config),
        ),
        airflow_port=_whole(
            environ.get("C360_AIRFLOW_PORT") or table.get("airflow", {}).get("port", 0), "airflow.port", config, least=0
        ),
        airflow_database=_text(
            environ.get("C360_AIRFLOW_DATABASE") or table.get("airflow", {}).get("database", ""),
            "airflow.database",
            config,
        ),
        declarations=(
            *(
                (base / _text(path, "lakehouse.declarations", config)).resolve()
                for path in lakehouse.get("declarations", [])
            ),
            *([config.resolve()] if any(map(is_declared, table.get("sources", {}).values())) else []),
        ),
        identity=identity_rules(table.get("identity", {}), config),
        sources=sources,
        config=config.resolve() if config.is_file() else None,
        pseudonym_key=_pseudonym_key(environ, home),
    )


def identity_rules(section: Mapping[str, Any], config: Path) -> IdentityRules:
    """The rules of identity a file's [identity] section asks for; what it does not name keeps its default.

    Raises: SettingsError in one line on a kind or a number that cannot be used.
    """
    caps = section.get("caps", {})
    if not isinstance(caps, dict):
        raise SettingsError(f"{config.name}: identity.caps must be a section, [identity.caps], of kinds and numbers")
    kinds = _texts(
        section.get("household_kinds", list(USUAL_RULES.household_kinds)), "identity.household_kinds", config
    )
    for known, named in ((USUAL_RULES.caps, caps), ((*USUAL_RULES.caps, "address"), kinds)):
        for kind in named:
            if kind not in known:
                raise SettingsError(f"{config.name}: identity knows no kind {kind!r}{_guess(kind, known)}")
    rules = IdentityRules(
        caps={
            **USUAL_RULES.caps,
            **{kind: _whole(cap, f"identity.caps.{kind}", config, least=1) for kind, cap in caps.items()},
        },
        household_kinds=kinds,
        link_at=_share(section.get("link_at", USUAL_RULES.link_at), "identity.link_at", config),
        review_at=_share(section.get("review_at", USUAL_RULES.review_at), "identity.review_at", config),
    )
    if rules.review_at < LEAST_LIKELY:
        raise SettingsError(
            f"{config.name}: identity.review_at is {rules.review_at}; expected {LEAST_LIKELY} to 1: two records "
            "that are more likely two people's are no case for review"
        )
    if rules.review_at > rules.link_at:
        raise SettingsError(
            f"{config.name}: identity.review_at is {rules.review_at}, above identity.link_at, {rules.link_at}; "
            "what is surer than a case for review would be none"
        )
    return rules


def rules_in(path: Path) -> IdentityRules:
    """The rules of identity in a file with an [identity] section, such as lakehouse.toml as it would be.

    Raises: SettingsError when there is no such file or section, or it cannot be used.
    """
    if not path.is_file():
        raise SettingsError(f"there is no file {path.name}; expected one with an [identity] section")
    table = _read(path)
    _check_keys(table, path)
    if "identity" not in table:
        raise SettingsError(f"{path.name} has no [identity] section; it would change nothing")
    return identity_rules(table["identity"], path)


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config.name} is not TOML: {error}; see README, 'your own systems'") from None


def _check_keys(table: dict[str, Any], config: Path) -> None:
    """A key nobody reads is a typing error, not a wish granted."""
    for section, values in table.items():
        if section not in _KNOWN:
            raise SettingsError(f"{config.name}: unknown section [{section}]{_guess(section, _KNOWN)}")
        if not isinstance(values, dict):
            raise SettingsError(f"{config.name}: {section} must be a section, [{section}]")
        keys = _KNOWN[section]
        for key, value in values.items():
            if section == "sources":
                if not isinstance(value, dict):
                    raise SettingsError(f"{config.name}: sources.{key} must be a section, [sources.{key}]")
                refuse_secrets(value, key, f"{config.name}: sources.{key}")
                for inner in value if not is_declared(value) else ():
                    if inner not in _SOURCE_KEYS:
                        raise SettingsError(
                            f"{config.name}: unknown key sources.{key}.{inner}{_guess(inner, _SOURCE_KEYS)}"
                        )
            elif key not in keys:
                raise SettingsError(f"{config.name}: unknown key {section}.{key}{_guess(key, keys)}")


def is_declared(section: Mapping[str, Any]) -> bool:
    """True when a section declares a source itself, and does not only say where a known one is reached."""
    return "streams" in section or "kind" in section


def refuse_secrets(section: Any, source: str, where: str) -> None:
    """Raises: SettingsError when a source's section holds what only the environment may: a secret, under any name."""
    if isinstance(section, list):
        for number, each in enumerate(section, start=1):
            refuse_secrets(each, source, f"{where}.{number}")
    if not isinstance(section, dict):
        return
    for key, value in section.items():
        is_secret = key.lower() in _SECRET_KEYS and isinstance(value, str) and "{secret}" not in value
        if is_secret or (key == "base_url" and isinstance(value, str) and _PASSWORD.match(value)):
            what = "a password in an address" if key == "base_url" else key
            raise SettingsError(
                f"{where}.{key}: secrets do not belong in files, and {what} is one; "
                f"set C360_SECRET_{source.upper()} in the environment"
            )
        if key not in _PATHS:
            refuse_secrets(value, source, f"{where}.{key}")


def address(value: str, beside: Path) -> str:
    """An address as it is used: folders and SQLite files are looked for beside the file that names them."""
    if value.startswith("sqlite:///") and not value.startswith("sqlite:////"):
        return f"sqlite:///{(beside / value.removeprefix('sqlite:///')).resolve()}"
    if not value or ":" in value.partition("/")[0]:
        return value
    return str((beside / value).resolve())


def _guess(word: str, known: Any) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"


def _text(value: Any, key: str, config: Path) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{config.name}: {key} is {value!r}; expected text in quotes")
    return value


def _yes_or_no(value: Any, key: str, config: Path) -> bool:
    if not isinstance(value, bool):
        raise SettingsError(f"{config.name}: {key} is {value!r}; expected true or false, without quotes")
    return value


def _texts(value: Any, key: str, config: Path) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise SettingsError(f"{config.name}: {key} is {value!r}; expected a list of texts, ['a', 'b']")
    return tuple(_text(each, key, config) for each in value)


def _match(value: Any, pattern: str, key: str, config: Path) -> str:
    if not re.fullmatch(pattern, _text(value, key, config)):
        raise SettingsError(f"{config.name}: {key} is {value!r}; expected a code like {pattern}")
    return str(value)


def _whole(value: Any, key: str, config: Path, *, least: int) -> int:
    try:
        number = int(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise SettingsError(f"{config.name}: {key} is {value!r}; expected a whole number, at least {least}")
    return number


def _lake(written: str, base: Path, home: Path) -> Path | str:
    """The lake's folder, or the address of its bucket. Raises: SettingsError for any other address."""
    if "://" not in written:
        return (base / written).resolve() if written else home / "lake"
    if not re.fullmatch(r"s3://[^/]+(/.*)?", written):
        raise SettingsError(f"{CONFIG_NAME}: lakehouse.lake is {written!r}; expected a folder, or s3://bucket/folder")
    return written


def _scheduler(address: str, *, allow_plain: bool) -> str:
    """A Dask address that rows may be sent to: over TLS, on this machine, or where plain TCP is said to be meant.

    Raises: SettingsError.
    """
    if not address:
        return ""
    found = urlsplit(address)
    if found.scheme not in {"tls", "tcp"} or not found.hostname:
        raise SettingsError(f"dask.scheduler is {address!r}; expected tls://host:8786, or tcp:// on this machine")
    if found.scheme == "tcp" and found.hostname not in {"localhost", "127.0.0.1", "::1"} and not allow_plain:
        raise SettingsError(
            f"dask.scheduler is {address!r}: customers' data would cross the network in the clear, and anybody there "
            "could run code; use tls://, or set dask.allow_plain = true if the network itself is encrypted"
        )
    return address


def _share(value: Any, key: str, config: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise SettingsError(f"{config.name}: {key} is {value!r}; expected a number from 0 to 1")
    return float(value)


def _day(value: Any, key: str, config: Path) -> date:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            value = repr(value)
    if type(value) is date:
        return value
    raise SettingsError(f"{config.name}: {key} is {value}; expected a day like 2026-01-31")


def _pseudonym_key(environ: Mapping[str, str], home: Path) -> bytes:
    """The tenant's key for pseudonyms: given, or made once and kept for the owner's eyes only."""
    given = environ.get("C360_PSEUDONYM_KEY", "")
    if given:
        if len(given) < 32:
            raise SettingsError("C360_PSEUDONYM_KEY is too short; give at least 32 characters, e.g. 64 hex digits")
        return given.encode()
    path = home / "keys" / "pseudonym.key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            # Written aside and linked into place: of two first runs one wins, and neither sees half a key.
            aside = path.with_name(f"{path.name}.{os.getpid()}.{random_secrets.token_hex(4)}")
            with os.fdopen(os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(random_secrets.token_hex(32))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(aside, path)
            except FileExistsError:
                pass
            finally:
                aside.unlink()
        return path.read_text(encoding="ascii").strip().encode()
    except OSError as error:
        raise SettingsError(
            f"the state folder {home} cannot be used: {error.strerror}; set lakehouse.home or C360_HOME"
        ) from None
