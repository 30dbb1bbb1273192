"""The job in dask.dataframe: two worker processes, a partition per day, shuffles where rows of several days must meet.

    python -m benchmarks.peers.dask_peer LAKE OUT

The events of web and mail, nine of ten rows, are dask dataframes; what is small is a delayed pandas frame on a worker.
Within a partition stands the pandas of the pandas peer. What pays here: one pass over the payloads, kept on the
workers; twins are looked for in a shuffle of a few columns; the map of identity is broadcast, not joined by shuffle;
and events are shuffled once, by customer, after the unknown are gone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
import polars as pl
from deltalake import write_deltalake
from distributed import Client, LocalCluster

from benchmarks.peers import given
from benchmarks.peers import pandas_peer as part

WORKERS = 2


def run(lake: Path) -> pl.DataFrame:
    """`gold.customer_360` of the bronze in `lake`, on a cluster of its own."""
    # pandas' own text, whose missing values compare as unequal, not Dask's choice, whose missing values do not compare.
    dask.config.set({"dataframe.convert-string": False, "distributed.logging": {"distributed.shuffle": "error"}})
    cluster = LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, memory_limit=0)
    with cluster, Client(cluster):
        return _run(lake)


def _run(lake: Path) -> pl.DataFrame:
    late = dask.delayed
    small = dask.persist(
        *(
            late(build)(lake)
            for build in (part.person_records, part.orders_and_lines, part.social_posts, part.consents, part.products)
        )
    )
    web = told_once(events(lake, "posthog_events", web_part), "event_id", 4)
    judged = _of(web).drop(columns="session").assign(is_beyond=False)
    web = web.map_partitions(part.judged_by_session, _began(web), enforce_metadata=False, meta=judged).persist()
    mails = told_once(events(lake, "klaviyo_events", mail_part), "event_id", 3).persist()

    records, (orders, lines, rate), posts, decisions, catalogue = dask.compute(*small)
    told = [
        part.evidence_of_records(records),
        _evidence(web, "_event_at", "posthog"),
        part.evidence(orders, "at", "shopify"),
        part.evidence(lines, "at", "shopify"),
        _evidence(mails, "_event_at", "klaviyo"),
        part.evidence(posts, "_event_at", "mastodon"),
        part.evidence(decisions, "decided_at", "consent"),
    ]
    known, systems = part.resolved(records, pd.concat(told, ignore_index=True))
    placed = part.whose(orders, known)
    profiles = dask.compute(_per_customer(web, known, part.visits), _per_customer(mails, known, part.mailings))
    facets = [
        part.customers(records, known, systems),
        part.purchases(placed),
        part.baskets(placed, lines, rate, catalogue),
        *profiles,
        part.echoes(part.whose(posts, known)),
        part.flags(part.whose(decisions, known)),
    ]
    return part.finished(facets, known)


def web_part(file: str) -> pd.DataFrame:
    """One day's events with channel, device and keys."""
    columns = part.web_columns(*part.of_files([file], "_event_at", "_hash"))
    return columns.pipe(part.with_channel).pipe(part.with_device).pipe(part.with_web_keys)


def mail_part(file: str) -> pd.DataFrame:
    """One day's events of messages, with keys."""
    columns = part.mail_columns(*part.of_files([file], "_event_at", "_hash"))
    return columns.pipe(part.with_key, "email").pipe(part.with_node)


def events(lake: Path, table: str, read: Callable[[str], pd.DataFrame]) -> Any:
    """A partition per file, kept on the workers. Every row has its place, unique over all partitions."""
    files = given.bronze_files(lake, table)
    frame = dd.from_map(_placed, list(enumerate(files)), read=read, meta=_placed((0, files[0]), read=read).iloc[:0])
    return frame.persist()


def _placed(numbered: tuple[int, str], *, read: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    number, file = numbered
    rows = read(file)
    rows["place"] = range(number << 32, (number << 32) + len(rows))
    return rows


def told_once(frame: Any, key: str, days: int) -> Any:
    """Without twins told again at most `days` after the one before."""
    slim = frame[[key, "day", "_event_at", "_hash", "place"]].shuffle(key)
    again = slim.map_partitions(_again, key, days, meta=slim._meta[["place"]]).compute()
    return frame.map_partitions(_without, again, meta=_of(frame).drop(columns="_hash"), enforce_metadata=False)


def _again(slim: pd.DataFrame, key: str, days: int) -> pd.DataFrame:
    slim = slim.reset_index(drop=True)
    return slim.loc[part.told_again(slim, key, days), ["place"]]


def _without(rows: pd.DataFrame, again: pd.DataFrame) -> pd.DataFrame:
    return rows[~rows["place"].isin(again["place"])].drop(columns="_hash")


def _began(web: Any) -> pd.DataFrame:
    firsts = web.map_partitions(part.per_day, enforce_metadata=False, meta=part.per_day(_of(web))).compute()
    return part.began_of(firsts)


def _evidence(frame: Any, at: str, source: str) -> pd.DataFrame:
    meta = part.evidence(_of(frame), at, source)
    return frame.map_partitions(part.evidence, at, source, enforce_metadata=False, meta=meta).compute()


def _per_customer(frame: Any, known: pd.DataFrame, facet: Callable[[pd.DataFrame], pd.DataFrame]) -> Any:
    """The facet of every known customer: their rows together in one partition, then pandas."""
    mine = frame.map_partitions(part.whose, known, enforce_metadata=False, meta=_of(frame).assign(customer=0))
    together = mine.shuffle("customer", npartitions=WORKERS * 4)
    return together.map_partitions(_facet, facet, enforce_metadata=False, meta=_facet(together._meta, facet))


def _facet(rows: pd.DataFrame, facet: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    return facet(rows.reset_index(drop=True))


def _of(frame: Any) -> pd.DataFrame:
    return frame._meta.copy()


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    lake, out = map(Path, arguments)
    write_deltalake(out, run(lake).to_arrow(), mode="overwrite")


if __name__ == "__main__":
    main(sys.argv[1:])
