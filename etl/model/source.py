"""A source is a value: how to reach it, what its streams are, and which subject each stream feeds.

No source has code of its own unless its protocol is odd; then its `Stream.request` names a reader function.
Paths into a payload are dotted: `properties.email`, `customer.phone`, `event_params[key=page_location].value`
(the element of a list whose `key` is `page_location`), `^currency` (from an exploded element, the record itself).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol

from etl.errors import DeclarationError
from etl.model.names import checked_name
from etl.model.window import Window

#: What becomes of records whose shape is not known; see `Stream`.
CONTRACTS = ("evolve", "quarantine", "freeze")


class Kind(Enum):
    """What a stream's records are, which decides how a window is written and makes every re-run safe.

    EVENTS    immutable; the window is event (or arrival) time; a re-run replaces it, an empty answer empties it
    REPORT    restated numbers; the window is the report date, and the last `restate_days` are pulled again
    ENTITY    mutable, the source keeps the latest; the window is updated-at; a re-run unites what is there with
              what came, deduplicated on (id, hash): captured history is never erased
    SNAPSHOT  no filter; the window is the run's day (its last); a re-run replaces it
    """

    EVENTS = "events"
    REPORT = "report"
    ENTITY = "entity"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class Pick:
    """Where a value stands in a payload and how it is written there.

    `written`: text | number | minor (cents) | micros | bool | timestamp (ISO 8601) | epoch_s | epoch_ms |
    epoch_us | date (ISO) | yyyymmdd | list. `const` is a value that stands nowhere but is true of the stream.
    `zone`: for local timestamps, the IANA zone they are in; None means UTC where no offset is written.
    `values` renames what the source calls things: {"SUBSCRIBED": "granted"}; others pass unchanged. `prefix` stands
    before every value that is not empty: it makes a number that only the source knows one that no other has.
    `is_lenient`: what cannot be read is no value, and the row stands; else the row goes to quarantine.
    """

    path: str = ""
    written: str = "text"
    const: str | None = None
    zone: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    prefix: str = ""
    is_lenient: bool = False

    WRITTEN = (
        "text",
        "number",
        "minor",
        "micros",
        "bool",
        "timestamp",
        "epoch_s",
        "epoch_ms",
        "epoch_us",
        "date",
        "yyyymmdd",
        "list",
    )

    def __post_init__(self) -> None:
        if self.written not in self.WRITTEN:
            raise DeclarationError(f"pick {self.path!r}: written as {self.written!r}; expected one of {self.WRITTEN}")
        if bool(self.path) == (self.const is not None):
            raise DeclarationError(f"pick {self.path!r}: give a path or a const, one of the two")


@dataclass(frozen=True, slots=True)
class Feed:
    """Which subject table a stream feeds, and where each of the subject's columns stands in the payload.

    `explode` is the path of a list: one row per element instead of one per record. `where` keeps only records
    whose value at a path is among the given ones; the others count as `filtered` for this feed.
    `unless` drops records whose value is among the given ones.
    """

    subject: str
    fields: Mapping[str, Pick]
    explode: str | None = None
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unless: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paging:
    """How the next page is asked for.

    style: none | cursor (the token at `next_at` in the body goes into `param`) | link (RFC 8288 header)
    | next_url (the address at `next_at`) | keyset (start anew above the last `key` when `cap` results were walked)
    | offset | page (the number of records walked, or of the next page, goes into `param`, `size` to a page)
    | starting_after (the last record's `key` goes into `param` while `more_at` is true)
    | token_header (the response's `header` goes into `param`, until it is `end`; no `end`: until it is missing)

    `total_at` is where the body says how many records there are in all: then a page that is missing is seen. A page
    shorter than `size` is not taken for the last one (servers cut pages down) unless the total says so, or
    `is_short_last`: the vendor promises it.
    """

    style: str = "none"
    next_at: str = ""
    param: str = ""
    size_param: str = ""
    size: int = 0
    key: str = ""
    cap: int = 0
    more_at: str = ""
    header: str = ""
    end: str = ""
    total_at: str = ""
    is_short_last: bool = False

    NEEDS = MappingProxyType(
        {
            "none": (),
            "cursor": ("next_at", "param"),
            "link": (),
            "next_url": ("next_at",),
            "keyset": ("next_at", "param", "key", "cap", "size"),
            "offset": ("param",),
            "page": ("param",),
            "starting_after": ("param", "key", "more_at"),
            "token_header": ("param", "header"),
        }
    )

    def __post_init__(self) -> None:
        if self.style not in self.NEEDS:
            raise DeclarationError(f"paging {self.style!r}; expected one of {tuple(self.NEEDS)}")
        missing = [name for name in self.NEEDS[self.style] if not getattr(self, name)]
        if missing:
            raise DeclarationError(f"paging by {self.style} needs {', '.join(missing)}")


@dataclass(frozen=True, slots=True)
class Http:
    """A request for one window. Placeholders in `params` and `json`: {start_iso} {end_iso} {start_ms} {end_ms}
    {start_s} {end_s} {first_date} {last_date} {before_start_iso} (a second before the start), {above} (keyset: the
    last key walked) and {account}. `records` is the path of the list in the body.

    `trims`: the API cannot filter by exactly this window, so records outside it are expected and set aside; else
    they are dead letters. `newest_first`: it cannot filter by the start either, so reading stops at the first page
    that lies wholly before the window.
    """

    path: str
    records: str
    method: str = "GET"
    params: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    paging: Paging = Paging()
    trims: bool = False
    newest_first: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of a protocol of its own. `path` goes on from the source's base_url, or is a whole address there, or
    that of a file on one of its `files_from`.

    `records` is the path of the list in the answer; None: there is no list, the answer itself is what is wanted.
    `form` is a body as HTML forms have it, `json` one in JSON.
    """

    path: str
    records: str | None = None
    method: str = "GET"
    params: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    form: Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """The answer: records to the byte, body, and headers (lower-case names).

    `skipped`: what was asked for is gone or not ours to see; no records, and the walk goes on.
    """

    records: Sequence[bytes]
    body: bytes
    headers: Mapping[str, str]
    skipped: bool = False


class Line(Protocol):
    """The line to one source, as a protocol of its own is handed it: authorised, spaced, judged and tried again."""

    @property
    def account(self) -> str:
        """The account that is asked."""

    def ask(self, question: Ask) -> Told:
        """The answer to one question. Raises: SourceUnreachable, SourceRefused, QuotaExhausted, SourceError."""

    def wait(self, seconds: float) -> None:
        """Let time pass, as between two looks at a job under way."""

    def note(self, what: str, of: Window) -> None:
        """Tell whoever looks after the source what makes the answer for a window less than whole; never a value."""


@dataclass(frozen=True, slots=True)
class Dlt:
    """A resource of dlt (https://dlthub.com), which only extracts: `Own(Dlt(...), trims=True)`.

    `resource` is `module:function` or `file.py:function`: a function that gives a resource, or a generator of dicts;
    `module:function.name` is one resource of a source. `arguments` are handed to it; placeholders in them as in `Http`,
    and {secret} and {base_url}. `cursor` is the field the window filters on; `written` is text (ISO 8601), timestamp
    (datetime), date, epoch_s or epoch_ms. No cursor: it is the arguments that tell the window.
    """

    resource: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    cursor: str = ""
    written: str = "text"

    WRITTEN = ("text", "timestamp", "date", "epoch_s", "epoch_ms")

    def __post_init__(self) -> None:
        module, _, function = self.resource.rpartition(":")
        if not module or not function:
            raise DeclarationError(f"dlt resource {self.resource!r}: expected module:function, e.g. my_shop:orders")
        if self.written not in self.WRITTEN:
            raise DeclarationError(
                f"dlt {self.resource}: written as {self.written!r}; expected one of {', '.join(self.WRITTEN)}"
            )


@dataclass(frozen=True, slots=True)
class Own:
    """A protocol no strategy covers: `read(line, window)` gives the window's records page by page.

    A pure function of what the line answers, which it stands beside in the source's file: jobs that are started,
    looked at and fetched, answers that are files, questions made of earlier answers. `trims` as of `Http`.
    It is called again with shorter windows where the source says that one holds too much.
    Or the protocol is somebody else's program: a `Dlt`.
    """

    # Not shown: a function's address differs from process to process, and a stream is known by what it shows.
    read: Callable[[Line, Window], Iterator[Sequence[bytes]]] | Dlt = field(repr=False)
    trims: bool = False


@dataclass(frozen=True, slots=True)
class Sql:
    """A table of a database through SQLAlchemy, or what a `query` of yours answers: tables joined, values that stand
    in one of several columns. `cursor` is the column the window filters on, as it is stored (for a query, as it comes
    out): `written` is timestamp (a real one), text (ISO 8601), epoch_s or epoch_ms. No cursor: the whole of it.
    """

    table: str = ""
    cursor: str = ""
    written: str = "timestamp"
    query: str = ""

    def __post_init__(self) -> None:
        if bool(self.table) == bool(self.query.strip()):
            raise DeclarationError("sql request: give a table or a query, one of the two")


@dataclass(frozen=True, slots=True)
class Files:
    """Files under the source's `base_url` (a folder). `pattern` may hold {yyyymmdd} or {date}: then the window
    picks files by name; else all matching files are read and the stream's `at` picks the rows.
    `format`: jsonl | csv | tsv | parquet. Text formats are read as text, so `00123` stays `00123`.
    `is_signed`: a line (jsonl) is a request a webhook received; its events are the records, if its signature holds
    for the key that is the source's secret, else it is a dead letter, `bad_signature`.
    """

    pattern: str
    format: str = "jsonl"
    columns: tuple[str, ...] = ()
    is_signed: bool = False

    def __post_init__(self) -> None:
        if self.is_signed and self.format != "jsonl":
            raise DeclarationError(f"files {self.pattern}: signed requests are lines of jsonl, not {self.format}")


@dataclass(frozen=True, slots=True)
class Auth:
    """How requests are authorised. The secret is never held here: it comes from the Airflow connection or the
    environment (`C360_SECRET_<SOURCE>`).

    scheme: none | bearer | header (`header`: `prefix` + secret) | basic (`prefix` + secret is user:password)
    | query (the secret as the parameter `param`) | form (the secret as the field `param` of a POST's form)
    | oauth2_refresh | oauth2_client | service_account
    The last three ask `token_url` (an address, or a path of the source's own) for an access token that stands for
    `scopes`; the secret is then JSON: {client_id, client_secret, refresh_token}, {client_id, client_secret}, or
    Google's key file. `extra_headers` (header -> key) are further secrets in that JSON; beside a plain secret, which
    then stands in it as `token`.
    """

    scheme: str = "none"
    header: str = "Authorization"
    prefix: str = ""
    param: str = ""
    token_url: str = ""
    scopes: tuple[str, ...] = ()
    extra_headers: Mapping[str, str] = field(default_factory=dict)

    RENEWED = ("oauth2_refresh", "oauth2_client", "service_account")
    SCHEMES = ("none", "bearer", "header", "basic", "query", "form", *RENEWED)

    def __post_init__(self) -> None:
        if self.scheme not in self.SCHEMES:
            raise DeclarationError(f"auth scheme {self.scheme!r}; expected one of {self.SCHEMES}")
        if self.scheme in {"query", "form"} and not self.param:
            raise DeclarationError(f"auth scheme {self.scheme} needs `param`, the name the token is sent under")
        if self.scheme.startswith("oauth2_") and not self.token_url:
            raise DeclarationError(f"auth scheme {self.scheme} needs `token_url`, where access tokens are given out")

    @property
    def is_renewed(self) -> bool:
        """True where the secret is not sent, but exchanged for an access token that runs out."""
        return self.scheme in self.RENEWED


@dataclass(frozen=True, slots=True)
class Limits:
    """What one account allows all clients of this process together: at most `requests` per `seconds`, `concurrency` at
    once. `max_bytes` bounds a response, unpacked.
    """

    requests: int = 100
    seconds: float = 10.0
    concurrency: int = 2
    max_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of record of a source.

    `id`: paths that together identify a record; empty means its content does (`_hash`). `at`: the time that
    decides which window and day a record belongs to. `cursor`: when the source last changed it (entities).
    `deleted`: a pick that is true for tombstones. `restate_days`: how many earlier days every run pulls again.
    `max_age_days`: how far back the source can answer; an older window is refused.
    `ordinal_id` adds the record's position in its file to the id, where a file may hold true repeats.
    `speaks_for` names the stream whose records these are, when a second answer of the source tells of the same
    ones (a list of deletes): its rows carry that stream's name, and so its tombstones meet what they delete.
    `contract` says what becomes of a record with a path nobody saw before, or another type: evolve (it lands, and
    bronze.schema_log has a line) | quarantine (a dead letter, `schema_drift`) | freeze (the window is refused).
    """

    name: str
    kind: Kind
    request: Http | Sql | Files | Own
    id: tuple[str, ...]
    at: Pick | None = None
    cursor: Pick | None = None
    deleted: Pick | None = None
    feeds: tuple[Feed, ...] = ()
    restate_days: int = 0
    max_age_days: int | None = None
    max_dead_fraction: float = 0.05
    ordinal_id: bool = False
    speaks_for: str = ""
    contract: str = "evolve"

    @property
    def identity(self) -> str:
        """The stream its records belong to: `_stream` of every row."""
        return self.speaks_for or self.name

    def __post_init__(self) -> None:
        checked_name(self.name, "stream")
        if self.contract not in CONTRACTS:
            raise DeclarationError(f"stream {self.name}: contract {self.contract!r}; expected one of {CONTRACTS}")
        if self.at is None and self.kind is not Kind.SNAPSHOT:
            raise DeclarationError(f"stream {self.name}: a {self.kind.value} stream needs `at`, the time of its window")


@dataclass(frozen=True, slots=True)
class Source:
    """One system. `base_url` can always be overridden in lakehouse.toml ([sources.NAME] base_url = ...).

    `files_from` are other hosts that hold files the system points to, fetched over https without the secret.
    """

    name: str
    title: str
    streams: tuple[Stream, ...]
    base_url: str = ""
    account: str = "default"
    auth: Auth = Auth()
    limits: Limits = Limits()
    errors: str = "standard"
    files_from: tuple[str, ...] = ()
    owner: str = "data-engineering"

    def __post_init__(self) -> None:
        checked_name(self.name, "source")
        names = [stream.name for stream in self.streams]
        if len(set(names)) != len(names):
            raise DeclarationError(f"source {self.name}: two streams share a name")
        for stream in self.streams:
            if stream.identity not in names:
                raise DeclarationError(f"stream {stream.name} speaks for {stream.speaks_for!r}, which is not declared")
