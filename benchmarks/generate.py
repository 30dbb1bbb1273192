"""A company's bronze, invented from a seed: dirty people in two CRMs, web events, orders, e-mails, posts, consents.

    python -m benchmarks.generate S

Everything is landed by the product's own envelope and lake, so that the job starts from bronze exactly as `c360 run`
leaves it. What is dirty: letter case, blanks and +tags in addresses, numbers written five ways, switchboards (`info@`)
and `0000000000`, households that share an address, contacts twice in one CRM, older states and deletions, kiosks many
sign in on, robots, events told twice, sessions that never end, amounts in four currencies, test orders, decisions
dated in the future. Six of ten sessions are of a browser nobody knows.

Beside the lake stand `truth.parquet` (which person a record is of) and `next_day/`: bronze rows of the day after the
history, for the increment. The same size gives the same rows, whatever the machine.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.c360_lake import DAYS, FIRST_DAY, Size, bench_house, history, next_day
from etl.bronze.envelope import Batch, enveloped
from etl.bronze.tables import INGEST_LOG, VOLATILE, bronze_table
from etl.demo.names import LANDS
from etl.lake import StagedFile
from etl.model import Source, Stream, Window
from etl.model.frames import schema_of
from etl.run.house import House

#: A change of what is generated changes this, and everything is generated anew.
VERSION = 3

_SEED = 2

_DAY_MS = 86_400_000
_START_MS = int(datetime.combine(FIRST_DAY, datetime.min.time(), UTC).timestamp() * 1000)
_ALL_MS = (DAYS + 1) * _DAY_MS
_READ_AT = next_day().end
_RUN = "benchmark"

Progress = Callable[[str], None]
Payload = Callable[[pl.DataFrame], pl.Series]
Floats = npt.NDArray[np.float64]


def generated(size: Size, folder: Path | None = None, *, progress: Progress = lambda _: None) -> Path:
    """The folder with `lake/`, `next_day/` and `truth.parquet` of `size`; generated where it is not there yet."""
    folder = folder or size.folder
    done = folder / f"generated-{VERSION}"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "next_day").mkdir(parents=True)
        _generate(size, folder, progress)
        done.touch()
    return folder


def _generate(size: Size, folder: Path, progress: Progress) -> None:
    house = bench_house(folder)
    people = _people(size.people)
    told: list[tuple[str, str, pl.DataFrame, Payload]] = [
        ("ecb_rates", "rates", _rates(), _as_json),
        ("shopify", "products", _products(), _as_json),
        ("hubspot", "contacts", contacts := _contacts(people), _contact_payload),
        ("hubspot", "contacts_archived", _archived(contacts), _contact_payload),
        ("crm_db", "customers", customers := _customers(people), _as_json),
        ("consent", "consents", _consents(people), _as_json),
        ("mastodon", "statuses", _statuses(people, size.events // 50), _as_json),
        ("shopify", "orders", _orders(people, size.events // 10), _order_payload),
        ("klaviyo", "events", _mails(people, size.events * 2 // 5), _mail_payload),
        ("posthog", "events", _web_events(people, size.events), _web_payload),
    ]
    _truth(contacts, customers).write_parquet(folder / "truth.parquet")
    for source_name, stream_name, rows, payload in told:
        source = house.catalog.source(source_name)
        landed = _land(house, source, house.catalog.stream(source, stream_name), rows, payload, folder)
        progress(f"{source_name}.{stream_name}: {landed:,} rows")


# --- landing ----------------------------------------------------------------------------------------------------------


def _land(house: House, source: Source, stream: Stream, rows: pl.DataFrame, payload: Payload, folder: Path) -> int:
    """Rows of one stream in bronze, day by day in one commit; those of the next day as a file beside the lake.

    rows: `_at` (milliseconds, what decides the day) and whatever `payload` makes the records of.
    """
    table = bronze_table(source, stream)
    files: list[StagedFile] = []
    landed = 0
    for number, (day, part) in enumerate(_by_day(rows)):
        window = next_day() if number == DAYS else history()
        wrapped = enveloped(
            Batch(1, payload(part)),
            source,
            stream,
            window if stream.at is not None else Window.of_day(day.date()),
            account=source.account,
            run_id=_RUN,
            extracted_at=_READ_AT,
        ).rows
        landed += wrapped.height
        if wrapped.is_empty():
            continue
        if number == DAYS:
            wrapped.write_parquet(folder / "next_day" / f"{source.name}.{stream.name}.parquet")
        else:
            files.append(house.lake.write_file(table, wrapped, day.date(), volatile=VOLATILE))
    house.lake.commit(table, files, load_id=f"{_RUN}:{table.full_name}")
    log_window(house, source, stream, history(), landed)
    return landed


def _by_day(rows: pl.DataFrame) -> Iterator[tuple[datetime, pl.DataFrame]]:
    """Every day with its rows, in the order they came."""
    day = (rows["_at"] - _START_MS) // _DAY_MS
    rows = rows.with_columns(day.alias("_day")).sort("_day", "_at", maintain_order=True)
    ends = np.searchsorted(rows["_day"].to_numpy(), np.arange(DAYS + 1), side="right").tolist()
    start = datetime.combine(FIRST_DAY, datetime.min.time(), UTC)
    for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
        yield start + timedelta(days=number), rows[begin:end].drop("_day")


def log_window(house: House, source: Source, stream: Stream, window: Window, rows: int) -> None:
    """The line ingestion leaves behind: up to when the lake knows."""
    line = {
        "source": source.name,
        "stream": stream.name,
        "kind": stream.kind.value,
        "window_start": window.start,
        "window_end": window.end,
        "row_count": rows,
        "dead_count": 0,
        "page_count": 1,
        "run_id": _RUN,
        "version": 0,
        "loaded_at": _READ_AT,
    }
    staged = house.lake.stage(INGEST_LOG, pl.DataFrame([line], schema=schema_of(INGEST_LOG.columns)))
    load_id = f"{_RUN}:{source.name}.{stream.name}:{window.key}:log"
    house.lake.commit(INGEST_LOG, staged, replaces="nothing", load_id=load_id)


def land_next_day(house: House, folder: Path) -> None:
    """The day after the history, in bronze."""
    for path in sorted((folder / "next_day").glob("*.parquet")):
        source_name, stream_name = path.stem.split(".")
        source = house.catalog.source(source_name)
        stream = house.catalog.stream(source, stream_name)
        table, rows = bronze_table(source, stream), pl.read_parquet(path)
        staged = house.lake.stage(table, rows, volatile=VOLATILE)
        house.lake.commit(table, staged, load_id=f"{_RUN}:next:{table.full_name}")
        log_window(house, source, stream, next_day(), rows.height)


def _as_json(rows: pl.DataFrame) -> pl.Series:
    """A record per row, of all its columns that do not start with an underscore."""
    return rows.select(pl.struct(pl.exclude("^_.*$")).struct.json_encode().alias("payload")).to_series()


def _moment(name: str, written: str = "%Y-%m-%dT%H:%M:%S%.3fZ") -> pl.Expr:
    """Milliseconds as text."""
    return pl.col(name).cast(pl.Datetime("ms")).dt.strftime(written)


# --- people -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Dice:
    """Seeded chance for one kind of row."""

    rng: np.random.Generator
    count: int

    def happens(self, share: float) -> npt.NDArray[np.bool_]:
        """True in `share` of the rows."""
        return self.rng.random(self.count) < share

    def one_of(self, words: tuple[str, ...], shares: tuple[float, ...] | None = None) -> pl.Series:
        """A word per row."""
        at = self.rng.choice(len(words), self.count, p=shares)
        return pl.Series(words, dtype=pl.String).gather(at)

    def below(self, limit: int) -> npt.NDArray[np.int64]:
        """A whole number per row, from 0."""
        return self.rng.integers(0, limit, self.count)

    def moments(self) -> npt.NDArray[np.int64]:
        """A moment of the history or the day after, per row."""
        return _START_MS + self.rng.integers(0, _ALL_MS, self.count)


def _dice(seed: int, count: int) -> _Dice:
    return _Dice(np.random.default_rng([_SEED, seed]), count)


_MAIL_HOSTS = ("gmail.com", "post.example.net", "mail.example.org", "box.example.com", "web.example.de")
_PLAIN = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", " ": "", "'": ""}
_PREFIX = {"DE": "49", "AT": "43", "GB": "44", "PL": "48", "US": "1"}
_MOBILE = {"DE": "171", "AT": "664", "GB": "7911", "PL": "501", "US": "212"}


def _people(count: int) -> pl.DataFrame:
    """Who there really is: one row per person, `person` from 0, clean. Logins, cards and handles are null where none.

    Every thirtieth lives with the one before: same family, same address, same e-mail and telephone.
    """
    dice = _dice(1, count)
    lands = [land for land in LANDS if land.code in _PREFIX]
    shares = np.array([land.share for land in lands])
    at = dice.rng.choice(len(lands), count, p=shares / shares.sum())
    person = np.arange(count)
    with_partner = (person % 30 == 29) & (person > 0)
    at[with_partner] = at[person[with_partner] - 1]
    roll = dice.rng.random((4, count))
    tables = [
        (tuple(sorted({*land.men, *land.women})), land.families, land.streets, tuple(town for town, _ in land.cities))
        for land in lands
    ]
    names = [
        pl.concat(
            [
                pl.DataFrame(
                    {"person": rows, "word": pl.Series(words[part]).gather(_at(roll[part][rows], words[part]))}
                )
                for words, rows in ((tables[land], np.flatnonzero(at == land)) for land in range(len(lands)))
            ]
        ).sort("person")["word"]
        for part in range(4)
    ]
    number = (person * 7919) % 10_000_000
    people = pl.DataFrame(
        {
            "person": person,
            "given": names[0],
            "family": names[1],
            "street": names[2],
            "house": dice.below(180) + 1,
            "city": names[3],
            "zip": (10_000 + dice.below(80_000)).astype(str),
            "country": pl.Series([land.code for land in lands]).gather(at),
            "language": pl.Series([land.language for land in lands]).gather(at),
            "host": dice.one_of(_MAIL_HOSTS),
            "number": number,
            "has_login": dice.happens(0.6),
            "has_card": dice.happens(0.25),
            "has_handle": dice.happens(0.05),
            "birth": dice.below(22_000),
        }
    )
    local = pl.concat_str(pl.col("given", "family"), separator=".").str.to_lowercase()
    people = people.with_columns(
        email=pl.concat_str(local.str.replace_many(_PLAIN), "person", pl.lit("@"), "host"),
        digits=pl.concat_str(pl.col("country").replace_strict(_MOBILE), pl.col("number").cast(pl.String).str.zfill(7)),
        login=pl.when("has_login").then(pl.format("{}", 7_000_000_000 + pl.col("person"))),
        card=pl.when("has_card").then(pl.format("NL {}", 40_000_000 + pl.col("person"))),
        handle=pl.when("has_handle").then(pl.format("walker{}@social.example.org", "person")),
        birth_date=(pl.lit(date(1945, 1, 1)) + pl.duration(days="birth")).dt.strftime("%Y-%m-%d"),
        street=pl.concat_str("street", pl.lit(" "), "house"),
    )
    shared = ("family", "email", "digits", "country", "street", "city", "zip", "language")
    return people.with_columns(
        pl.when(pl.Series(with_partner)).then(pl.col(name).shift()).otherwise(name).alias(name) for name in shared
    ).select("person", "given", "family", "email", "digits", "login", "card", "handle", "birth_date", "street",
             "city", "zip", "country", "language")  # fmt: skip


def _at(roll: Floats, words: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Positions in `words`, by chance from 0 to 1."""
    return (roll * len(words)).astype(np.int64)


def _dirty_email(dice: _Dice) -> pl.Expr:
    """The person's address as people and systems write it; a switchboard's now and then; often none."""
    email = pl.col("email")
    return (
        pl.when(pl.Series(dice.happens(0.1)))
        .then(None)
        .when(pl.Series(dice.happens(0.01)))
        .then(pl.format("info@firm{}.example.com", pl.col("person") % 500))
        .when(pl.Series(dice.happens(0.002)))
        .then(pl.lit("not an address"))
        .when(pl.Series(dice.happens(0.1)))
        .then(email.str.to_uppercase())
        .when(pl.Series(dice.happens(0.05)))
        .then(pl.concat_str(pl.lit(" "), email, pl.lit("  ")))
        .when(pl.Series(dice.happens(0.05)))
        .then(email.str.replace("@", "+shop@", literal=True))
        .otherwise(email)
    )


def _dirty_phone(dice: _Dice) -> pl.Expr:
    """The person's number in one of five spellings; a placeholder now and then; often none."""
    digits, prefix = pl.col("digits"), pl.col("country").replace_strict(_PREFIX)
    return (
        pl.when(pl.Series(dice.happens(0.35)))
        .then(None)
        .when(pl.Series(dice.happens(0.005)))
        .then(pl.lit("0000000000"))
        .when(pl.Series(dice.happens(0.25)))
        .then(pl.concat_str(pl.lit("+"), prefix, digits))
        .when(pl.Series(dice.happens(0.25)))
        .then(pl.concat_str(pl.lit("00"), prefix, pl.lit(" "), digits))
        .when(pl.Series(dice.happens(0.25)))
        .then(
            pl.concat_str(pl.lit("+"), prefix, pl.lit(" ("), digits.str.slice(0, 3), pl.lit(") "), digits.str.slice(3))
        )
        .when(pl.col("country").is_in(["US", "PL"]))
        .then(digits)
        .otherwise(pl.concat_str(pl.lit("0"), digits))
    )


# --- the two CRMs -----------------------------------------------------------------------------------------------------

_STAGES = ("subscriber", "lead", "customer", "evangelist")


def _contacts(people: pl.DataFrame) -> pl.DataFrame:
    """HubSpot: nine of ten people, a few of them twice; one in eight records with an older state."""
    chosen = people.filter(pl.Series(_dice(2, people.height).happens(0.92)))
    again = people.filter(pl.Series(_dice(3, people.height).happens(0.08)))
    rows = pl.concat([chosen, again])
    dice = _dice(4, rows.height)
    rows = rows.with_columns(
        id=pl.format("{}", 100_000 + pl.int_range(pl.len())),
        _at=pl.Series(dice.moments()),
        email=_dirty_email(dice),
        phone=_dirty_phone(dice),
        stage=dice.one_of(_STAGES),
        is_bare=pl.Series(dice.happens(0.1)),
        _archived=pl.Series(dice.happens(0.01)),
    ).with_columns(_created=pl.col("_at") - pl.Series(dice.below(400 * _DAY_MS) + 1000))
    dice = _dice(5, rows.height)
    older = rows.with_columns(
        _at=pl.max_horizontal(pl.col("_at") - 20 * _DAY_MS, pl.lit(_START_MS)), stage=pl.lit("lead"), phone=None
    ).filter(pl.Series(dice.happens(0.12)) & (pl.col("_created") < pl.col("_at")))
    return pl.concat([rows, older.cast(rows.schema)])


def _archived(contacts: pl.DataFrame) -> pl.DataFrame:
    """Contacts archived a day after they last changed, as tombstones."""
    gone = contacts.filter("_archived").unique("id", keep="first", maintain_order=True)
    at = pl.col("_at") + _DAY_MS
    return gone.with_columns(at.alias("_at")).filter(pl.col("_at") < _START_MS + _ALL_MS)


def _contact_payload(rows: pl.DataFrame) -> pl.Series:
    """As HubSpot's search answers; `archivedAt` where it was archived then."""
    said = pl.when(~pl.col("is_bare"))
    return rows.select(
        pl.struct(
            "id",
            pl.struct(
                email="email",
                firstname="given",
                lastname="family",
                phone="phone",
                address=said.then("street"),
                zip=said.then("zip"),
                city=said.then("city"),
                country=said.then("country"),
                hs_language="language",
                date_of_birth="birth_date",
                lifecyclestage="stage",
                loyalty_card="card",
                shop_customer_id="login",
                mastodon_handle="handle",
            ).alias("properties"),
            _moment("_created").alias("createdAt"),
            _moment("_at").alias("updatedAt"),
            pl.col("_archived").alias("archived"),
            _moment("_at").alias("archivedAt"),
        ).struct.json_encode().alias("payload")
    ).to_series()  # fmt: skip


def _customers(people: pl.DataFrame) -> pl.DataFrame:
    """The branch offices' database: six of ten people, without logins."""
    rows = people.filter(pl.Series(_dice(6, people.height).happens(0.6)))
    dice = _dice(7, rows.height)
    return rows.select(
        pl.format("K{}", 500_000 + pl.int_range(pl.len())).alias("customer_no"),
        pl.col("given").alias("first_name"),
        pl.col("family").alias("last_name"),
        _dirty_email(dice).alias("email"),
        _dirty_phone(dice).alias("mobile"),
        "street",
        "zip",
        "city",
        "country",
        "birth_date",
        pl.col("card").str.replace_all(" ", "-").alias("card_no"),
        dice.one_of(("active", "closed"), (0.9, 0.1)).alias("status"),
        pl.Series("_at", dice.moments() // 1000 * 1000),
        pl.Series("_back", dice.below(2000 * _DAY_MS)),
        pl.col("person").alias("_person"),
    ).with_columns(
        (pl.col("_at") - pl.col("_back")).cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%SZ").alias("created_at"),
        _moment("_at", "%Y-%m-%dT%H:%M:%SZ").alias("updated_at"),
    )


def _truth(contacts: pl.DataFrame, customers: pl.DataFrame) -> pl.DataFrame:
    """source, record_id, person_id: which person each record is of."""
    return pl.concat(
        [
            contacts.select(source=pl.lit("hubspot"), record_id="id", person_id="person").unique(),
            customers.select(source=pl.lit("crm_db"), record_id="customer_no", person_id="_person"),
        ]
    ).sort("source", "record_id")


# --- what people do ---------------------------------------------------------------------------------------------------


def _rates() -> pl.DataFrame:
    """Rates of working days up to the day of the list: one list on the history's last day, one on the day after."""
    base = {"USD": 1.0834, "GBP": 0.8571, "PLN": 4.2917}
    lists = []
    for last in (DAYS - 1, DAYS):
        days = [FIRST_DAY + timedelta(days=ahead) for ahead in range(-7, last + 1)]
        lists.append(
            pl.DataFrame(
                [
                    {
                        "rate_date": str(day),
                        "currency": currency,
                        "rate": f"{rate * (1 + day.toordinal() % 11 / 1e3):.4f}",
                    }
                    for day in days
                    if day.weekday() < 5
                    for currency, rate in base.items()
                ]
            ).with_columns(_at=pl.lit(_START_MS + last * _DAY_MS))
        )
    return pl.concat(lists)


_CATEGORIES = ("Tents", "Rucksacks", "Lamps", "Blankets", "Stoves", "Boots", "Jackets", "Knives")


def _products() -> pl.DataFrame:
    """The catalogue: three hundred things."""
    number = pl.int_range(300, eager=True)
    return pl.DataFrame(
        {
            "id": pl.select(pl.format("gid://shopify/Product/{}", 9_000_000 + number)).to_series(),
            "legacyResourceId": (9_000_000 + number).cast(pl.String),
            "title": pl.select(pl.format("Thing {}", number)).to_series(),
            "vendor": pl.Series(("Fjell", "Nordlys", "Elv")).gather(number % 3),
            "productType": pl.Series(_CATEGORIES).gather(number % len(_CATEGORIES)),
            "updatedAt": "2026-01-01T06:00:00Z",
            "_at": _START_MS + 6 * 3_600_000,
        }
    )


_PURPOSES = ("email_marketing", "sms_marketing", "analytics", "personalisation", "ads")


def _consents(people: pl.DataFrame) -> pl.DataFrame:
    """Decisions, three to two people: by e-mail, by login, a few dated days ahead by a wrong clock."""
    dice = _dice(8, people.height * 3 // 2)
    rows = people[dice.below(people.height)].with_columns(
        _at=pl.Series(dice.moments()),
        purpose=dice.one_of(_PURPOSES, (0.6, 0.1, 0.1, 0.1, 0.1)),
        status=dice.one_of(("granted", "withdrawn"), (0.75, 0.25)),
        _by_login=pl.Series(dice.happens(0.3)),
        _ahead=pl.Series(np.where(dice.happens(0.002), 30 * _DAY_MS, -dice.below(3_600_000))),
    )
    return rows.select(
        pl.format("D{}", pl.int_range(pl.len())).alias("consent_id"),
        pl.when(pl.col("login").is_null() | ~pl.col("_by_login")).then("email").alias("email"),
        pl.when("_by_login").then("login").alias("login"),
        "purpose",
        "status",
        pl.lit("consent").alias("lawful_basis"),
        pl.max_horizontal(pl.col("_at") + pl.col("_ahead"), pl.lit(_START_MS)).alias("_decided"),
        "_at",
    ).with_columns(_moment("_decided").alias("decided_at"), _moment("_at").alias("recorded_at"))


def _statuses(people: pl.DataFrame, count: int) -> pl.DataFrame:
    """Posts under our hashtag; half of them of people we know."""
    dice = _dice(9, count)
    handles = people["handle"].drop_nulls()
    known = handles.gather(dice.below(max(1, len(handles)))) if len(handles) else pl.Series([None], dtype=pl.String)
    stranger = pl.select(pl.format("stranger{}@far.example.org", pl.Series(dice.below(max(1, count // 2))))).to_series()
    return pl.DataFrame(
        {
            "id": pl.select(pl.format("{}", 116_000_000_000 + pl.int_range(count))).to_series(),
            "_at": dice.moments(),
            "_handle": pl.select(pl.when(pl.Series(dice.happens(0.5))).then(known).otherwise(stranger)).to_series(),
            "content": dice.one_of(("<p>Lovely tent</p>", "<p>The stove broke &amp; nobody answers</p>")),
            "language": dice.one_of(("de", "en", "pl")),
            "replies_count": dice.below(5),
            "reblogs_count": dice.below(9),
            "favourites_count": dice.below(40),
        }
    ).with_columns(_moment("_at").alias("created_at"), pl.struct(acct="_handle").alias("account"))


#: The last has no rate, so its orders are turned away.
_CURRENCIES = ("EUR", "GBP", "PLN", "USD", "CHF")
_STATES = ("PAID", "REFUNDED", "PARTIALLY_REFUNDED", "VOIDED", "PENDING")


def _orders(people: pl.DataFrame, count: int) -> pl.DataFrame:
    """Shopify's orders with their lines; two of three by account holders; one in ten changed again later."""
    dice = _dice(10, count)
    buyer = people[(people.height * dice.rng.random(count) ** 2).astype(np.int64)]
    lines = dice.rng.choice([1, 2, 3, 4], count, p=[0.5, 0.3, 0.15, 0.05])
    orders = buyer.select("email", "login", "card").with_columns(
        _order=pl.int_range(pl.len()),
        _at=pl.Series(dice.moments() // 1000 * 1000),
        _late=pl.Series(dice.below(3_600)),
        state=dice.one_of(_STATES, (0.88, 0.04, 0.04, 0.02, 0.02)),
        currency=dice.one_of(_CURRENCIES, (0.9, 0.04, 0.03, 0.027, 0.003)),
        coupon=pl.when(pl.Series(dice.happens(0.15))).then(pl.lit("WINTER26")),
        campaign=pl.when(pl.Series(dice.happens(0.3))).then(pl.lit("winter-sale")),
        test=pl.Series(dice.happens(0.005)),
        part=pl.Series(dice.rng.random(count).round(2)),
        card=pl.when(pl.Series(dice.happens(0.3))).then("card"),
        login=pl.when(pl.Series(dice.happens(0.9))).then("login"),
    )
    dice = _dice(11, int(lines.sum()))
    line_items = (
        pl.DataFrame(
            {
                "_order": np.repeat(np.arange(count), lines),
                "product": dice.below(300),
                "quantity": dice.rng.choice([1, 1, 1, 2, 3], dice.count),
                "cents": 495 + 100 * dice.below(120),
                "off": np.where(dice.happens(0.1), 200, 0),
            }
        )
        .group_by("_order", maintain_order=True)
        .agg("product", "quantity", "cents", "off", total=(pl.col("quantity") * pl.col("cents") - pl.col("off")).sum())
    )
    orders = orders.join(line_items, on="_order", how="left", maintain_order="left")
    changed = orders.filter((pl.col("_order") % 10 == 3) & (pl.col("_at") < _START_MS + _ALL_MS - 20 * _DAY_MS))
    return pl.concat(
        [
            orders.with_columns(_changed="_at"),
            changed.with_columns(_changed=pl.col("_at") + 15 * _DAY_MS, state=pl.lit("PARTIALLY_REFUNDED")),
        ]
    ).with_columns(_at="_changed", _ordered="_at")


def _order_payload(rows: pl.DataFrame) -> pl.Series:
    """As the file of a bulk operation has them, lines put back into their order."""
    left = (
        pl.when(pl.col("state") == "REFUNDED")
        .then(0)
        .when(pl.col("state") == "PARTIALLY_REFUNDED")
        .then((pl.col("total") * pl.col("part")).cast(pl.Int64))
        .otherwise("total")
    )
    attribute = [
        pl.struct(pl.lit(name).alias("key"), pl.coalesce(value, pl.lit("")).alias("value"))
        for name, value in (("utm_campaign", pl.col("campaign")), ("loyalty_card", pl.col("card")))
    ]
    lines = (
        rows.select("_order", "_at", "currency", "product", "quantity", "cents", "off")
        .explode("product", "quantity", "cents", "off")
        .select(
            "_order",
            "_at",
            pl.struct(
                pl.format(
                    "gid://shopify/LineItem/{}", pl.col("_order") * 10 + pl.int_range(pl.len()).over("_order", "_at")
                ).alias("id"),
                pl.struct(legacyResourceId=(9_000_000 + pl.col("product")).cast(pl.String)).alias("product"),
                pl.format("Thing {}", "product").alias("title"),
                "quantity",
                _charged(pl.col("cents")).alias("originalUnitPriceSet"),
                pl.concat_list(pl.struct(_charged(pl.col("off")).alias("allocatedAmountSet"))).alias(
                    "discountAllocations"
                ),
                pl.format("gid://shopify/Order/{}", _order_number()).alias("__parentId"),
            ).alias("lineItems"),
        )
        .group_by("_order", "_at", maintain_order=True)
        .agg("lineItems")
    )
    return (
        rows.join(lines, on=["_order", "_at"], how="left", maintain_order="left")
        .select(
            pl.struct(
                pl.format("gid://shopify/Order/{}", _order_number()).alias("id"),
                _order_number().cast(pl.String).alias("legacyResourceId"),
                _moment("_ordered", "%Y-%m-%dT%H:%M:%SZ").alias("processedAt"),
                _moment("_at", "%Y-%m-%dT%H:%M:%SZ").alias("updatedAt"),
                pl.col("state").alias("displayFinancialStatus"),
                _charged(pl.col("total")).alias("totalPriceSet"),
                _charged(left).alias("currentTotalPriceSet"),
                _charged(pl.when(pl.col("coupon").is_null()).then(0).otherwise(pl.col("total") // 10)).alias(
                    "totalDiscountsSet"
                ),
                pl.concat_list("coupon").list.drop_nulls().alias("discountCodes"),
                "email",
                pl.when(pl.col("login").is_not_null()).then(pl.struct(legacyResourceId="login")).alias("customer"),
                pl.concat_list(attribute).alias("customAttributes"),
                "lineItems",
                "test",
            )
            .struct.json_encode()
            .alias("payload")
        )
        .to_series()
    )


def _charged(cents: pl.Expr) -> pl.Expr:
    """An amount as the buyer saw it."""
    amount = pl.format("{}.{}", cents // 100, (cents % 100).cast(pl.String).str.zfill(2))
    return pl.struct(pl.struct(amount.alias("amount"), currencyCode="currency").alias("presentmentMoney"))


def _order_number() -> pl.Expr:
    return 5_000_000_000 + pl.col("_order")


_METRICS = ("SentEm", "RecvEm", "OpenEm", "ClckEm", "BncdEm", "UnsbEm", "SpamEm")


def _mails(people: pl.DataFrame, count: int) -> pl.DataFrame:
    """Klaviyo's events: forty campaigns, delivered or bounced, opened or not; one in two hundred told twice."""
    messages = round(count / 2.62)
    dice = _dice(12, messages)
    sent = pl.DataFrame(
        {
            "person": dice.below(people.height),
            "campaign": dice.below(40),
            "_at": dice.moments(),
            "delivered": dice.happens(0.97),
            "opened": dice.happens(0.45),
            "again": dice.happens(0.15),
            "clicked": dice.happens(0.06),
            "refused": dice.happens(0.004),
            "upper": dice.happens(0.05),
        }
    )
    followed = (
        (0, 0, pl.lit(True)),
        (1, 4_000, pl.col("delivered")),
        (4, 4_000, ~pl.col("delivered")),
        (2, 3_600_000, pl.col("delivered") & pl.col("opened")),
        (2, 90_000_000, pl.col("delivered") & pl.col("opened") & pl.col("again")),
        (3, 3_700_000, pl.col("delivered") & pl.col("opened") & pl.col("clicked")),
        (5, 3_800_000, pl.col("delivered") & pl.col("refused")),
        (6, 3_900_000, pl.col("delivered") & pl.col("refused") & pl.col("upper")),
    )
    events = pl.concat(
        [
            sent.filter(happens).select(
                "person", "campaign", "upper", pl.col("_at") + after, _metric=pl.lit(metric, pl.Int64)
            )
            for metric, after, happens in followed
        ]
    ).filter(pl.col("_at") < _START_MS + _ALL_MS)
    events = events.with_columns(_event=pl.int_range(pl.len()))
    return pl.concat([events, events.filter(pl.col("_event") % 200 == 7)]).with_columns(
        email=people["email"].gather(
            pl.Series(pl.concat([events, events.filter(pl.col("_event") % 200 == 7)])["person"])
        )
    )


def _mail_payload(rows: pl.DataFrame) -> pl.Series:
    """As Klaviyo's API answers."""
    address = pl.when("upper").then(pl.col("email").str.to_uppercase()).otherwise("email")
    return rows.select(
        pl.struct(
            pl.lit("event").alias("type"),
            pl.format("m{}", "_event").alias("id"),
            pl.struct(
                _moment("_at", "%Y-%m-%dT%H:%M:%S%.3f+00:00").alias("datetime"),
                pl.struct(
                    pl.format("campaign-{}", "campaign").alias("$message"),
                    pl.format("Letter {}", "campaign").alias("Campaign Name"),
                    address.alias("Recipient Email Address"),
                ).alias("event_properties"),
            ).alias("attributes"),
            pl.struct(
                pl.struct(
                    pl.struct(pl.col("_metric").replace_strict(dict(enumerate(_METRICS))).alias("id")).alias("data")
                ).alias("metric")
            ).alias("relationships"),
        ).struct.json_encode().alias("payload")
    ).to_series()  # fmt: skip


# --- the web ----------------------------------------------------------------------------------------------------------

_SITE = "https://www.nordlicht.example"
#: utm_source, utm_medium, utm_campaign, referrer; null where there is none. The first is a visit from nowhere.
_WAYS = (
    (None, None, None, None),
    ("google", "cpc", "winter-sale", "https://www.google.com/"),
    ("newsletter", "email", "letter-%31", None),
    ("facebook", "paid_social", "autumn", "https://l.facebook.com/l.php"),
    ("partner", "affiliate", "winter-sale", "https://deals.example.org/tents?ref=1"),
    ("gdn", "display", "brand", None),
    (None, None, None, "https://www.google.de/search?q=tent"),
    (None, None, None, "https://www.bing.com/"),
    (None, None, None, "https://mastodon.social/@walker"),
    (None, None, None, "https://youtu.be/abc"),
    (None, None, None, "https://blog.example.net/post/17"),
)
_WAY_SHARES = (0.38, 0.1, 0.08, 0.05, 0.02, 0.02, 0.2, 0.04, 0.04, 0.03, 0.04)
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/139.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/139.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 15; SM-X710) AppleWebKit/537.36 Chrome/139.0 Safari/537.36",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "python-requests/2.32",
)
_AGENT_SHARES = (0.3, 0.15, 0.05, 0.22, 0.2, 0.06, 0.015, 0.005)
_AGENT_DEVICES = ("Desktop", "Desktop", "Desktop", "Mobile", "Mobile", "Tablet", None, None)
_KINDS = ("anon", "browser", "kiosk")
_NAMES = ("$pageview", "$screen", "add_to_cart", "search", "scroll")


def _web_events(people: pl.DataFrame, count: int) -> pl.DataFrame:
    """PostHog's events by session: five on average, ninety seconds apart; one in a hundred told twice."""
    sessions = max(1, round(count * (DAYS + 1) / DAYS / 5.05))
    dice = _dice(13, sessions)
    is_known = dice.happens(0.4)
    kiosk = dice.happens(0.002)
    person = (people.height * dice.rng.random(sessions) ** 1.7).astype(np.int64)
    has_login = people["login"].is_not_null().to_numpy()[person]
    logs_in = (is_known & has_login & dice.happens(0.5)) | (kiosk & has_login)
    browser = np.where(
        is_known, 2 * person + (dice.rng.random(sessions) < 0.3), dice.below(max(1, int(sessions * 0.5)))
    )
    browser = np.where(kiosk, dice.below(10), browser)
    kind = np.where(kiosk, 2, np.where(is_known, 1, 0)).astype(np.int8)
    lengths = 1 + dice.rng.poisson(4.0, sessions)
    forgotten = dice.happens(0.0003) & (lengths > 2)
    at = np.repeat(np.arange(sessions, dtype=np.int32), lengths)
    total = len(at)
    place = np.arange(total) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    gaps = np.minimum(dice.rng.exponential(90_000.0, total), 1_500_000.0) * np.where(forgotten[at], 2500.0, 1.0)
    gaps[place == 0] = 0.0
    since = np.cumsum(gaps)
    since -= since[np.cumsum(lengths) - lengths][at]
    moments = dice.moments()[at] + since.astype(np.int64) + place
    dice = _dice(14, total)
    events = pl.DataFrame(
        {
            "_event": np.arange(total, dtype=np.int64),
            "_at": moments,
            "_session": at,
            "_place": place.astype(np.int16),
            "_name": np.where(place == 0, 0, dice.rng.choice(5, total, p=[0.6, 0.05, 0.1, 0.1, 0.15])).astype(np.int8),
            "_page": dice.below(400).astype(np.int16),
        }
    )
    dice = _dice(15, sessions)
    visits = pl.DataFrame(
        {
            "_session": np.arange(sessions, dtype=np.int32),
            "_browser": browser,
            "_kind": kind,
            "_login": pl.select(pl.when(pl.Series(logs_in)).then(7_000_000_000 + pl.Series(person))).to_series(),
            "_way": dice.rng.choice(len(_WAYS), sessions, p=np.array(_WAY_SHARES)).astype(np.int8),
            "_agent": dice.rng.choice(len(_AGENTS), sessions, p=_AGENT_SHARES).astype(np.int8),
            "_says_device": dice.happens(0.8),
        }
    )
    events = events.filter(pl.col("_at") < _START_MS + _ALL_MS)
    twice = events.filter(pl.col("_event") % 100 == 3)
    return pl.concat([events, twice]).join(visits, on="_session", how="left", maintain_order="left")


def _web_payload(rows: pl.DataFrame) -> pl.Series:
    """As PostHog's API answers. The tags of a landing stand in its address; every other time as properties too."""
    is_landing = pl.col("_place") == 0
    ways = pl.DataFrame(_WAYS, schema=["source", "medium", "campaign", "referrer"], orient="row")
    way = pl.col("_way").cast(pl.Int64)
    words = {
        name: pl.when(is_landing).then(way.replace_strict(dict(enumerate(ways[name])), return_dtype=pl.String))
        for name in ways.columns
    }
    agent = pl.col("_agent").cast(pl.Int64)
    rows = rows.with_columns(**words)
    tags = pl.when(pl.col("source").is_not_null()).then(
        pl.format("?utm_source={}&utm_medium={}&utm_campaign={}", "source", "medium", "campaign")
    )
    also = pl.col("_session") % 2 == 0
    kind = pl.col("_kind").cast(pl.Int64).replace_strict(dict(enumerate(_KINDS)), return_dtype=pl.String)
    name = pl.col("_name").cast(pl.Int64).replace_strict(dict(enumerate(_NAMES)), return_dtype=pl.String)
    return rows.select(
        pl.struct(
            pl.format("019b-{}", "_event").alias("id"),
            name.alias("event"),
            _moment("_at").alias("timestamp"),
            pl.struct(
                pl.format("{}-{}", kind, "_browser").alias("$device_id"),
                pl.when(~is_landing).then(pl.col("_login").cast(pl.String)).alias("$user_id"),
                pl.format("s{}", "_session").alias("$session_id"),
                pl.concat_str(pl.lit(f"{_SITE}/shop/page-"), "_page", tags.fill_null("")).alias("$current_url"),
                pl.when(is_landing).then("referrer").otherwise(pl.lit(f"{_SITE}/")).alias("$referrer"),
                pl.when(also).then("source").alias("utm_source"),
                pl.when(also).then("medium").alias("utm_medium"),
                pl.when(also).then(pl.col("campaign").str.replace("%31", "1", literal=True)).alias("utm_campaign"),
                pl.when("_says_device").then(
                    agent.replace_strict(dict(enumerate(_AGENT_DEVICES)), return_dtype=pl.String)
                ).alias("$device_type"),
                pl.lit("DE").alias("$geoip_country_code"),
                agent.replace_strict(dict(enumerate(_AGENTS)), return_dtype=pl.String).alias("$raw_user_agent"),
            ).alias("properties"),
        ).struct.json_encode().alias("payload")
    ).to_series()  # fmt: skip


if __name__ == "__main__":
    print(generated(Size.of(sys.argv[1]), progress=print))
