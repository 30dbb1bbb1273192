"""Who to write to and how: names and addresses, in a table (and a directory) of their own.

Read only by those who may see persons; everything else about a customer is in `gold.customer_360`, which names nobody.
"""

from __future__ import annotations

from datetime import datetime

import polars as pl

from etl import fields as f
from etl.gold.consent_flags import consent_flags
from etl.model import Layer, Table
from etl.silver.consents import CONSENTS
from etl.silver.customers import CUSTOMERS


def build_contacts(customers: pl.LazyFrame, consents: pl.LazyFrame, *, as_of: datetime) -> pl.LazyFrame:
    """The golden record of every known customer, and what they agreed to as of `as_of` (exclusive).

    One row per known customer; a browser nobody has named is no contact.
    """
    flags = consent_flags(consents, as_of=as_of)
    known = customers.filter(pl.col("is_known"))
    return known.join(flags, on="customer_id", how="left").select(CONTACTS.column_names)


CONTACTS = Table(
    layer=Layer.GOLD,
    name="contacts",
    description="Names, addresses and consent of every known customer; for those who may see persons.",
    grain="one row per known customer",
    key=("customer_id",),
    columns=(
        f.customer_id.required,
        f.email,
        f.phone,
        f.given_name,
        f.family_name,
        f.birth_date,
        f.street,
        f.postal_code,
        f.city,
        f.region,
        f.country,
        f.language,
        f.company,
        f.lifecycle_stage,
        f.age_band,
        f.income_band,
        f.household_size,
        f.has_consent_email_marketing,
        f.has_consent_sms_marketing,
        f.has_consent_analytics,
        f.has_consent_personalisation,
        f.has_consent_ads,
        f.updated_at,
    ),
    inputs=(CUSTOMERS, CONSENTS),
    build=build_contacts,
)
