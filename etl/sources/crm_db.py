"""The customer database of the branch offices: one table, read over SQL, changes found by `updated_at` (ISO text)."""

from __future__ import annotations

from etl.model import Feed, Kind, Pick, Source, Sql, Stream

CUSTOMERS = Stream(
    name="customers",
    kind=Kind.ENTITY,
    request=Sql(table="customers", cursor="updated_at", written="text"),
    id=("customer_no",),
    at=Pick("updated_at", "timestamp"),
    cursor=Pick("updated_at", "timestamp"),
    feeds=(
        Feed(
            subject="person_records",
            fields={
                "email": Pick("email"),
                "phone": Pick("mobile"),
                "card": Pick("card_no"),
                "given_name": Pick("first_name"),
                "family_name": Pick("last_name"),
                "birth_date": Pick("birth_date", "date"),
                "street": Pick("street"),
                "postal_code": Pick("zip"),
                "city": Pick("city"),
                "country": Pick("country"),
                "company": Pick("company"),
                "lifecycle_stage": Pick("status"),
                "created_at": Pick("created_at", "timestamp"),
                "updated_at": Pick("updated_at", "timestamp"),
            },
        ),
    ),
)

SOURCE = Source(name="crm_db", title="Customer database", streams=(CUSTOMERS,))
