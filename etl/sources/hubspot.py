"""HubSpot CRM: contacts as they change, and those that were archived.

API: CRM objects v3, https://developers.hubspot.com/docs/api/crm/contacts and .../crm/search. Search answers at most
10,000 results, so it is walked by `hs_object_id`: sorting by the modified date can repeat pages for ever when many
contacts share one. Archived contacts stay listed for 90 days.
"""

from __future__ import annotations

from etl.model import Auth, Feed, Http, Kind, Limits, Paging, Pick, Source, Stream

PROPERTIES = (
    "email", "firstname", "lastname", "phone", "mobilephone", "address", "zip", "city", "state", "country",
    "hs_language", "date_of_birth", "company", "lifecyclestage", "loyalty_card", "shop_customer_id",
    "mastodon_handle", "createdate", "lastmodifieddate", "hs_object_id",
)  # fmt: skip

_PERSON = Feed(
    subject="person_records",
    fields={
        "email": Pick("properties.email"),
        "phone": Pick("properties.phone"),
        "login": Pick("properties.shop_customer_id"),
        "card": Pick("properties.loyalty_card"),
        "handle": Pick("properties.mastodon_handle"),
        "given_name": Pick("properties.firstname"),
        "family_name": Pick("properties.lastname"),
        "birth_date": Pick("properties.date_of_birth", "date"),
        "street": Pick("properties.address"),
        "postal_code": Pick("properties.zip"),
        "city": Pick("properties.city"),
        "region": Pick("properties.state"),
        "country": Pick("properties.country"),
        "language": Pick("properties.hs_language"),
        "company": Pick("properties.company"),
        "lifecycle_stage": Pick("properties.lifecyclestage"),
        "created_at": Pick("createdAt", "timestamp"),
        "updated_at": Pick("updatedAt", "timestamp"),
    },
)

CONTACTS = Stream(
    name="contacts",
    kind=Kind.ENTITY,
    request=Http(
        method="POST",
        path="/crm/v3/objects/contacts/search",
        records="results",
        json={
            "filterGroups": [
                {
                    "filters": [
                        {"propertyName": "lastmodifieddate", "operator": "GTE", "value": "{start_ms}"},
                        {"propertyName": "lastmodifieddate", "operator": "LT", "value": "{end_ms}"},
                        {"propertyName": "hs_object_id", "operator": "GT", "value": "{above}"},
                    ]
                }
            ],
            "sorts": ["hs_object_id"],
            "properties": list(PROPERTIES),
            "after": "0",
        },
        paging=Paging(
            style="keyset",
            next_at="paging.next.after",
            param="after",
            size_param="limit",
            size=200,
            key="id",
            cap=10_000,
        ),
    ),
    id=("id",),
    at=Pick("updatedAt", "timestamp"),
    cursor=Pick("updatedAt", "timestamp"),
    feeds=(_PERSON,),
)

CONTACTS_ARCHIVED = Stream(
    name="contacts_archived",
    kind=Kind.ENTITY,
    request=Http(
        path="/crm/v3/objects/contacts",
        records="results",
        params={"archived": "true", "properties": ",".join(PROPERTIES)},
        paging=Paging(style="cursor", next_at="paging.next.after", param="after", size_param="limit", size=100),
        trims=True,
    ),
    id=("id",),
    at=Pick("archivedAt", "timestamp"),
    cursor=Pick("archivedAt", "timestamp"),
    deleted=Pick("archived", "bool"),
    feeds=(_PERSON,),
    speaks_for="contacts",
)

SOURCE = Source(
    name="hubspot",
    title="HubSpot CRM",
    base_url="https://api.hubapi.com",
    auth=Auth(scheme="bearer"),
    # Private apps: 100 requests in 10 seconds; search 4 a second, one account.
    limits=Limits(requests=4, seconds=1.0, concurrency=1),
    errors="hubspot",
    streams=(CONTACTS, CONTACTS_ARCHIVED),
)
