"""The company's files and database, written once, and its truth beside them.

`<home>/demo/<key>/files/...` is what the pipeline reads, `<home>/demo/truth/...` what it never reads.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random

import polars as pl

from etl.demo.company import FORM, Company, build_company
from etl.demo.marketing import META_ACCOUNT
from etl.demo.records import DAY_MS, Truth, collector_at_rest, compact_day, iso_ms, iso_s, ms_of
from etl.demo.traffic import EXPERIMENT, TRUE_LIFT
from etl.demo.web import ga4_files, snowplow_files

HTTP_SOURCES = {
    "hubspot": "hubspot",
    "klaviyo": "klaviyo",
    "mastodon": "mastodon",
    "meta_ads": "meta",
    "shopify": "shopify",
}
FILE_SOURCES = ("ga4", "snowplow", "devices", "consent", "experiments", "ecb_rates")
_CUSTOMERS = """
CREATE TABLE customers (
  customer_no TEXT, first_name TEXT, last_name TEXT, email TEXT, phone TEXT, mobile TEXT, street TEXT, zip TEXT,
  city TEXT, country TEXT, birth_date TEXT, card_no TEXT, company TEXT, status TEXT, merged_into TEXT,
  created_at TEXT, updated_at TEXT
)"""


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """Where the company's files stand, and its truth. `was_there`: an earlier run had written them."""

    root: Path
    truth: Path
    was_there: bool


def prepare(
    home: Path, *, people: int = 5000, days: int = 30, seed: int = 42, first_day: date = date(2026, 1, 1)
) -> DemoFiles:
    """The company's files under `home`/demo, written once: a second call with the same values reuses them.

    Everything is written to a folder beside and renamed at the end, so a killed run leaves nothing half-made.
    Other values replace what was there.
    """
    folder = home / "demo"
    wanted = _marker(people, days, seed, first_day)
    if _read_marker(folder) == wanted:
        return DemoFiles(folder / "files", folder / "truth", was_there=True)
    return write_files(home, build_company(people=people, days=days, first_day=first_day, seed=seed))


def write_files(home: Path, company: Company) -> DemoFiles:
    """Write files, database and truth of a company already built. See `prepare`."""
    folder = home / "demo"
    home.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".demo-", dir=home))
    try:
        truth = Truth()  # what the files add; the company's own stays as it was
        with collector_at_rest():
            texts = render(company, truth)
        for name, lines in texts.items():
            path = building / "files" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(("\n".join(lines) + "\n" if lines else "").encode())
        _write_database(building / "files" / "crm.sqlite", company)
        _write_truth(building / "truth", company, truth)
        (building / "marker.json").write_text(json.dumps(company.marker, sort_keys=True))
        if folder.exists():
            old = Path(tempfile.mkdtemp(prefix=".demo-old-", dir=home))
            folder.replace(old / "demo")
            shutil.rmtree(old, ignore_errors=True)
        building.chmod(0o755)
        building.replace(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return DemoFiles(folder / "files", folder / "truth", was_there=False)


def sources_config(base_url: str, files_root: Path) -> dict[str, dict[str, str]]:
    """Per source what the settings need: base_url, secret, account. `base_url` is the server's, without a slash."""
    config = {
        name: {"base_url": f"{base_url}/{prefix}", "secret": token_of(name)} for name, prefix in HTTP_SOURCES.items()
    }
    config["meta_ads"]["account"] = META_ACCOUNT
    config["crm_db"] = {"base_url": f"sqlite:///{files_root / 'crm.sqlite'}", "secret": ""}
    for name in FILE_SOURCES:
        config[name] = {"base_url": str(files_root / name), "secret": ""}
    return config


def token_of(source: str) -> str:
    """The token the demo server asks for; it opens nothing else."""
    return f"demo-{source.replace('_', '-')}"


def render(company: Company, truth: Truth) -> dict[str, list[str]]:
    """Path under the files folder -> lines, for every file source."""
    texts: dict[str, list[str]] = {}
    for source, files in (
        ("ga4", ga4_files(company, truth)),
        ("snowplow", snowplow_files(company, truth)),
        ("devices", _reading_files(company, truth)),
        ("consent", _consent_files(company, truth)),
        ("experiments", _exposure_files(company, truth)),
        ("ecb_rates", _rates_file(company, truth)),
    ):
        for name, lines in files.items():
            texts[f"{source}/{name}"] = lines
    return texts


def _by_day(company: Company, stem: str) -> dict[str, list[str]]:
    days = range(ms_of(company.start), ms_of(company.end), DAY_MS)
    return {f"{stem}_{compact_day(at)}.jsonl": [] for at in days}


def _line(record: dict[str, object]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def _reading_files(company: Company, truth: Truth) -> dict[str, list[str]]:
    """Readings by the day they were received: three a day and device, some late, some delivered twice (QoS 1)."""
    rng = Random(f"{company.seed}:devices")
    files = _by_day(company, "readings")
    end = ms_of(company.end)
    spoil = ["unparsable_value"] * 3 + ["missing_device"] * 2 + ["far_future_timestamp"] * 2
    for person in company.people:
        if not person.device:
            continue
        metric, unit, level = (
            ("temperature", "celsius", 20.5),
            ("weight", "kilogram", 74.0),
            ("battery", "percent", 80.0),
        )[person.number % 3]
        skew = int(rng.gauss(0, 1500)) if rng.random() > 0.03 else 7_200_000
        at, sequence, stop = person.joined_at, 0, person.left_at or end
        while True:
            at += int((0.5 + rng.random()) * DAY_MS / 1.15)
            if at >= stop:
                break
            sequence += 1
            received = at + (int(rng.random() * 2 * DAY_MS) if rng.random() < 0.02 else 50 + int(rng.random() * 900))
            if received >= end:
                continue
            record: dict[str, object] = {
                "reading_id": f"{person.device}-{sequence:05d}",
                "device_id": person.device,
                "account": person.login if person.login else None,
                "topic": f"nordlicht/devices/{person.device}/{metric}",
                "qos": 1,
                "dup": False,
                "seq": sequence,
                "metric": metric,
                "value": round(level + rng.gauss(0, 1.5), 2),
                "unit": unit,
                "measured_at": iso_ms(at + skew),
                "received_at": iso_ms(received),
            }
            lines = files[f"readings_{compact_day(received)}.jsonl"]
            lines.append(_line(record))
            if rng.random() < 0.03:
                again = min(received + 5000, end - 1)
                twin = {**record, "dup": True, "received_at": iso_ms(again)}
                files[f"readings_{compact_day(again)}.jsonl"].append(_line(twin))
            if spoil and sequence == 3:
                kind = spoil.pop(0)
                change: dict[str, object] = {
                    "unparsable_value": {"value": "err"},
                    "missing_device": {"device_id": None},
                    "far_future_timestamp": {"measured_at": "2099-12-31T00:00:00.000Z"},
                }[kind]  # type: ignore[assignment]
                ident = f"{person.device}-bad"
                lines.append(_line({**record, "reading_id": ident, **change}))
                truth.spoil("devices", "readings", kind, ident)
    return files


def _consent_files(company: Company, truth: Truth) -> dict[str, list[str]]:
    """Decisions by the day they were recorded; who decides is said by e-mail, login or card."""
    rng = Random(f"{company.seed}:consents")
    files = _by_day(company, "consents")
    end = ms_of(company.end)
    spoil = ["unknown_purpose", "unknown_purpose", "missing_decided_at"]
    for serial, decision in enumerate(company.decisions):
        if decision.recorded_at >= end:
            continue
        person = decision.person
        record: dict[str, object] = {
            "consent_id": f"cns-{serial:08d}",
            "email": person.email if rng.random() < 0.8 or not (person.login or person.card) else None,
            "login": person.login if person.login and rng.random() < 0.5 else None,
            "card": person.card if person.card and rng.random() < 0.4 else None,
            "purpose": decision.purpose,
            "status": decision.status,
            "lawful_basis": "consent",
            "channel": decision.channel,
            "decided_at": iso_ms(decision.at),
            "recorded_at": iso_ms(decision.recorded_at),
        }
        truth.link("consent", "consents", str(record["consent_id"]), person.person_id)
        lines = files[f"consents_{compact_day(decision.recorded_at)}.jsonl"]
        lines.append(_line(record))
        if spoil and serial % 50 == 49:
            kind = spoil.pop(0)
            change: dict[str, object] = {"purpose": "telepathy"} if kind == "unknown_purpose" else {"decided_at": None}
            ident = f"cns-bad-{serial}"
            lines.append(_line({**record, "consent_id": ident, **change}))
            truth.spoil("consent", "consents", kind, ident)
    return files


def _exposure_files(company: Company, truth: Truth) -> dict[str, list[str]]:
    """Exposures by the day they were received: every visit during the experiment; some twice, some a day late."""
    rng = Random(f"{company.seed}:exposures")
    files = _by_day(company, "exposures")
    end = ms_of(company.end)
    spoil = ["missing_variant", "missing_variant", "far_future_timestamp"]
    for serial, visit in enumerate(company.visits):
        if not visit.variant or visit.person is None:
            continue
        at = visit.at + 200
        received = at + (int(rng.random() * DAY_MS) if rng.random() < 0.01 else int(rng.random() * 2000))
        if received >= end:
            continue
        ident = f"exp-{serial:08d}"
        record: dict[str, object] = {
            "exposure_id": ident,
            "experiment_id": EXPERIMENT,
            "variant": visit.variant,
            "anonymous_id": visit.browser.ga,
            "user_id": visit.person.login if visit.is_known and visit.person.login else None,
            "exposed_at": iso_ms(at),
            "received_at": iso_ms(received),
        }
        truth.link("experiments", "exposures", ident, visit.person.person_id)
        lines = files[f"exposures_{compact_day(received)}.jsonl"]
        lines.append(_line(record))
        if rng.random() < 0.01:
            lines.append(_line(record))
        if spoil and serial % 20 == 19:
            kind = spoil.pop(0)
            change: dict[str, object] = (
                {"variant": None} if kind == "missing_variant" else {"exposed_at": "2099-12-31T00:00:00.000Z"}
            )
            lines.append(_line({**record, "exposure_id": f"{ident}-bad", **change}))
            truth.spoil("experiments", "exposures", kind, f"{ident}-bad")
    return files


def _rates_file(company: Company, truth: Truth) -> dict[str, list[str]]:
    lines = ["rate_date,currency,rate", *(f"{day},{currency},{rate}" for day, currency, rate in company.rates)]
    for kind, line in (
        ("unparsable_rate", f"{company.first_day},SEK,N/A"),
        ("unknown_currency", f"{company.first_day},EURO,1.0"),
    ):
        lines.append(line)
        truth.spoil("ecb_rates", "rates", kind, ":".join(line.split(",")[:2]))
    return {"rates.csv": lines}


def _write_database(path: Path, company: Company) -> None:
    with sqlite3.connect(path) as database:
        database.execute(_CUSTOMERS)
        database.execute("CREATE INDEX customers_updated_at ON customers (updated_at)")
        marks = ",".join("?" * 17)
        database.executemany(f"INSERT INTO customers VALUES ({marks})", company.crm_rows)  # noqa: S608 - question marks only
    database.close()


def _write_truth(folder: Path, company: Company, from_files: Truth) -> None:
    """The parquet files of what is really so, and the JSON of what was spoilt."""
    folder.mkdir(parents=True)
    links = sorted(company.truth.record_links + from_files.record_links)
    pl.DataFrame(links, schema=["source", "stream", "record_id", "person_id"], orient="row").write_parquet(
        folder / "record_links.parquet"
    )
    pl.DataFrame(
        sorted(company.truth.identifier_links), schema=["kind", "value", "person_id"], orient="row"
    ).write_parquet(folder / "identifier_links.parquet")
    _people_frame(company).write_parquet(folder / "people.parquet")
    _orders_frame(company).write_parquet(folder / "orders.parquet")
    (folder / "experiment.json").write_text(json.dumps(_experiment(company), indent=1, sort_keys=True))
    bad: dict[tuple[str, str, str], list[str]] = {}
    for source, stream, kind, record_id in company.truth.bad + from_files.bad:
        bad.setdefault((source, stream, kind), []).append(record_id)
    rows = [
        {"source": source, "stream": stream, "kind": kind, "rows": len(ids), "record_ids": [i for i in ids if i]}
        for (source, stream, kind), ids in sorted(bad.items())
    ]
    (folder / "expected_bad.json").write_text(json.dumps(rows, indent=1))


def _people_frame(company: Company) -> pl.DataFrame:
    """One row per person: who they are, when they left, what they brought in (EUR, refunds deducted)."""
    revenue: dict[str, int] = {}
    count: dict[str, int] = {}
    for order in company.orders:
        ident = order.person.person_id
        revenue[ident] = revenue.get(ident, 0) + order.eur_gross - order.refunded()[1]
        count[ident] = count.get(ident, 0) + 1
    return pl.DataFrame(
        {
            "person_id": [p.person_id for p in company.people],
            "household": [f"h{p.household:07d}" for p in company.people],
            "given_name": [p.given for p in company.people],
            "family_name": [p.family for p in company.people],
            "birth_date": [date.fromisoformat(p.born) for p in company.people],
            "email": [p.email for p in company.people],
            "phone": [p.mobile for p in company.people],
            "card": [p.card or None for p in company.people],
            "login": [p.login or None for p in company.people],
            "country": [p.land.code for p in company.people],
            "joined_at": [iso_s(p.joined_at) for p in company.people],
            "left_at": [iso_s(p.left_at) if p.left_at else None for p in company.people],
            "order_count": [count.get(p.person_id, 0) for p in company.people],
            "revenue_eur": [revenue.get(p.person_id, 0) / 100 for p in company.people],
        }
    )


def _orders_frame(company: Company) -> pl.DataFrame:
    """One row per order, as it stands in the end; amounts in cents, of the buyer's currency and in euro."""
    orders = company.orders
    return pl.DataFrame(
        {
            "order_id": [str(o.id) for o in orders],
            "person_id": [o.person.person_id for o in orders],
            "ordered_at": [iso_s(o.at) for o in orders],
            "currency": [o.currency for o in orders],
            "rate": [o.rate for o in orders],
            "gross_cents": [o.own_gross for o in orders],
            "refund_cents": [o.refunded()[0] for o in orders],
            "gross_eur_cents": [o.eur_gross for o in orders],
            "refund_eur_cents": [o.refunded()[1] for o in orders],
            "is_guest": [o.is_guest for o in orders],
            "utm_campaign": [o.utm[2] or None for o in orders],
        }
    )


def _experiment(company: Company) -> dict[str, object]:
    """The experiment as planned and as it turned out: visits exposed and orders among them, per arm."""
    arms: dict[str, dict[str, int]] = {}
    people: dict[str, set[str]] = {}
    for visit in company.visits:
        if visit.variant and visit.person:
            arm = arms.setdefault(visit.variant, {"exposed_visits": 0, "orders": 0})
            arm["exposed_visits"] += 1
            arm["orders"] += visit.order is not None
            people.setdefault(visit.variant, set()).add(visit.person.person_id)
    return {
        "experiment_id": EXPERIMENT,
        "true_relative_lift": TRUE_LIFT,
        "metric": "orders per exposed visit",
        "arms": {name: {**arm, "people": len(people[name])} for name, arm in arms.items()},
    }


def _marker(people: int, days: int, seed: int, first_day: date) -> dict[str, object]:
    return {"form": FORM, "seed": seed, "people": people, "days": days, "first_day": first_day.isoformat()}


def _read_marker(folder: Path) -> object:
    try:
        return json.loads((folder / "marker.json").read_text())
    except (OSError, ValueError):
        return None
