"""What every peer is given: where bronze stands, and the product's own pure functions for what no engine has.

Those are what an e-mail address, a telephone number or a country is, what makes a channel of campaign tags and a device
of a browser's description, the pseudonyms, and the resolver: which customers the evidence makes. All are asked about
distinct values only, or about the evidence as one frame; so what differs between the peers is the engine and its code.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote_plus

import polars as pl
from deltalake import DeltaTable

from benchmarks.c360_lake import COUNTRY, KEY, as_of
from etl.bronze.tables import IDENTITY_RULINGS
from etl.gold import consent_flags, customer_360
from etl.kernels.numbering import halves
from etl.model.frames import empty, schema_of
from etl.privacy.pseudonyms import KINDS, RECORD, pseudonyms
from etl.silver.channels import channel_of
from etl.silver.countries import country_code
from etl.silver.evidence import SURENESS, Evidence
from etl.silver.identifiers import with_keys
from etl.silver.identity_edges import judged
from etl.silver.identity_map import IDENTITY_MAP, build_identity_map
from etl.silver.identity_matches import IDENTITY_MATCHES
from etl.silver.rulings import standing
from etl.silver.web_events import device_of, is_robot
from etl.sources import klaviyo, shopify

#: The columns of the answer, and their types.
OUT = schema_of(customer_360.CUSTOMER_360.columns)
AS_OF = as_of()
#: The words of the sources, in ours; what counts as bought; what may be agreed to.
STATUS = {word.lower(): ours for word, ours in shopify.STATUS.items()}
METRICS = dict(klaviyo.METRICS)
PAID = list(customer_360.PAID)
PURPOSES = list(consent_flags.PURPOSES)
DEVICES = {"desktop": "desktop", "computer": "desktop", "pc": "desktop", "mobile": "mobile", "phone": "mobile",
           "smartphone": "mobile", "tablet": "tablet"}  # fmt: skip

_IDENTIFIERS = (*KINDS, "email_sha256")
_NO_RULINGS = standing(empty(IDENTITY_RULINGS.columns))


def bronze_files(lake: Path, table: str) -> list[str]:
    """The data files of one bronze table, as Delta's log has them; `day` stands in their paths."""
    return sorted(DeltaTable(lake / "bronze" / table).file_uris())


def identified(kind: str, values: pl.Series, countries: pl.Series | None = None) -> pl.DataFrame:
    """value, (country,) is_there, key: what the product makes of each identifier. `values` are distinct.

    `is_there`: it is such an identifier. `key`: its pseudonym, null where nobody owns it. Telephones come with the
    country they are dialled in.
    """
    columns = [
        pl.lit(None, pl.String).alias(name) if name != kind else values.alias(name).cast(pl.String)
        for name in _IDENTIFIERS
    ]
    frame = pl.DataFrame({"value": values}).with_columns(*columns)
    frame = frame.with_columns((pl.lit(None, pl.String) if countries is None else countries).alias("country"))
    keyed = with_keys(frame.lazy(), key=KEY, country=COUNTRY, hint="country").collect()
    kept = ["value"] if countries is None else ["value", "country"]
    return keyed.select(*kept, pl.col(kind).is_not_null().alias("is_there"), pl.col(f"{kind}_key").alias("key"))


def record_nodes(told: pl.Series) -> pl.Series:
    """The node of each record, told as `source:stream:id`."""
    return pseudonyms(told, RECORD, key=KEY)


def countries(values: Iterable[str]) -> dict[str, str | None]:
    """ISO codes of distinct words for countries."""
    return {value: country_code(value) for value in values}


def channels(told: pl.DataFrame) -> pl.DataFrame:
    """`told` (source, medium, campaign, came_from; distinct) with `channel`."""
    return told.with_columns(pl.Series("channel", [channel_of(*row) for row in told.iter_rows()], dtype=pl.String))


def agents(values: Iterable[str]) -> pl.DataFrame:
    """user_agent, agent_device, is_bot of distinct browsers' descriptions."""
    rows = [(value, device_of(value), is_robot(value)) for value in values]
    schema = {"user_agent": pl.String, "agent_device": pl.String, "is_bot": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def decoded(values: Iterable[str]) -> dict[str, str]:
    """Distinct parameters of addresses, as they are meant."""
    return {value: unquote_plus(value) for value in values}


def resolved(seen: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """node_id, customer_id, is_known, valid_from: the product's guards and components over a peer's evidence.

    seen: left_node_id, node_kind, right_node_id, edge_kind, first_at, one row per pair and per node by itself.
    names: node_id, given_name, family_name of the records. What of the evidence decides nothing is filled in.
    """
    edges = judged(_evidence(seen), names, _NO_RULINGS)
    matches, rulings, previous = (
        empty(table.columns).lazy() for table in (IDENTITY_MATCHES, IDENTITY_RULINGS, IDENTITY_MAP)
    )
    settled = build_identity_map(edges.lazy(), matches, rulings, previous=previous, as_of=AS_OF, key=KEY)
    return settled.select("node_id", "customer_id", "is_known", "valid_from").collect()


def _evidence(seen: pl.DataFrame) -> Evidence:
    """The same in the product's own form, in numbers."""
    rank = pl.Enum(SURENESS)
    told = seen.select(
        "left_node_id",
        "right_node_id",
        pl.col("node_kind", "edge_kind").cast(rank).to_physical().cast(pl.UInt8),
        pl.lit(1, pl.Int64).alias("edge_count"),
        "first_at",
        pl.col("first_at").alias("last_at"),
        pl.lit(0, pl.UInt64).alias("systems_0"),
    )
    alone = pl.col("edge_kind").is_null()
    nodes = told.filter(alone).sort("left_node_id")
    high, low, _ = halves(nodes["left_node_id"])
    numbers = nodes.select("left_node_id").with_row_index("number").cast({"number": pl.Int32})
    pairs = told.filter(~alone).drop("node_kind")
    for end in ("left", "right"):
        pairs = pairs.join(numbers.rename({"left_node_id": f"{end}_node_id", "number": end}), on=f"{end}_node_id")
    pairs = pairs.select("left", "right", pl.all().exclude("left", "right", "left_node_id", "right_node_id"))
    nodes = nodes.drop("left_node_id", "right_node_id", "edge_kind")
    return Evidence(high, low, nodes, pairs.sort("left", "right"), ("bronze",))
