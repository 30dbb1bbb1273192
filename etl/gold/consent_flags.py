"""What each customer agreed to, as of a moment. Read by the gold tables that say whom we may write to."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from etl import fields as f

PURPOSES = f.purpose.allowed


def consent_flags(consents: pl.LazyFrame, *, as_of: datetime) -> pl.LazyFrame:
    """The latest decision on every purpose before `as_of`: `has_consent_<purpose>`.

    One row per customer with at least one decision; null where that purpose was never decided on. Of two decisions
    at the same moment the withdrawal holds: it must be as easy to withdraw as to give (GDPR Art. 7(3)).
    `_email_marketing_at` is when the decision on e-mail marketing was made.
    """
    # Sorted once: rows keep their order within groups. "granted" < "withdrawn", so a withdrawal comes last.
    decided = consents.filter(pl.col("customer_id").is_not_null(), pl.col("event_at") < as_of).sort(
        "event_at", "consent_status"
    )
    return decided.group_by("customer_id").agg(
        *[
            (pl.col("consent_status").filter(pl.col("purpose") == purpose).last() == "granted").alias(
                f"has_consent_{purpose}"
            )
            for purpose in PURPOSES
        ],
        pl.col("event_at").filter(pl.col("purpose") == "email_marketing").last().alias("_email_marketing_at"),
    )
