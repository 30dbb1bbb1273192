"""A seeded fictional company, "Nordlicht" (outdoor and home goods), that answers as every source would.

`build_company` invents it, `prepare` writes its files and database once, `serve` answers over real HTTP. The same
(seed, people, days, first_day) give the same bytes. Its truth stands in `<home>/demo/truth`; the pipeline never
reads it.

What is said where, beyond the vendors' own shapes (all times UTC):

hubspot     contacts. Own properties beside HubSpot's: `loyalty_card`, `shop_customer_id` (the shop login),
            `mastodon_handle` (user@host), `date_of_birth` (ISO). `hs_merged_object_ids` after a merge. Empty
            properties are absent. `lastmodifieddate` and `createdate` are ISO 8601 with milliseconds.
crm_db      SQLite table `customers`: customer_no, first_name, last_name, email, phone, mobile, street, zip, city,
            country (ISO-2), birth_date, card_no, company, status (active|closed|merged), merged_into, created_at,
            updated_at (text, `2026-01-05T10:20:30Z`).
ga4         `events_YYYYMMDD.jsonl`, BigQuery export (64-bit numbers are strings; times in microseconds), property
            zone UTC. `user_id` is the shop login; `user_properties[key=email_sha256].value.string_value` once known.
snowplow    `events_YYYYMMDD.csv` by collector day, header of atomic columns, times `YYYY-MM-DD HH:MM:SS.mmm`.
            `user_id` is the shop login; contexts_com_nordlicht_identity_1_0_0 is JSON [{"email_sha256": ...}].
mastodon    GET /api/v1/timelines/tag/nordlicht. `account.acct` is user@host.
klaviyo     /api/events, /api/profiles, /api/campaigns, /api/metrics. Metric ids: SentEm sent, RecvEm delivered,
            OpenEm opened, ClckEm clicked, BncdEm bounced, UnsbEm unsubscribed, SpamEm complained.
            event_properties: "$message" (campaign id), "Campaign Name", "Subject", "Recipient Email Address".
            Profiles: `external_id` is the shop login; `properties.loyalty_card`.
shopify     POST /admin/api/2026-10/graphql.json: bulk operations over orders, customers, products; the same as REST
            lists (orders.json ...), and events.json, empty. Shop money is EUR (`currencyCode`); the buyer's own
            currency is `presentmentCurrencyCode`, with `totalPriceSet.presentmentMoney` (and so for every amount).
            The customer's number is the shop login; guests have `email` only. `customAttributes` hold utm_source,
            utm_medium, utm_campaign, loyalty_card.
meta_ads    GET /v24.0/act_{account}/insights, account 1002003004, level=ad, time_increment=1; `actions` has
            action_type lead and purchase. GET .../campaigns: those the insights name.
devices     `readings_YYYYMMDD.jsonl` by received day: reading_id, device_id, account (shop login, may be null),
            topic, qos, dup, seq, metric, value, unit, measured_at, received_at.
consent     `consents_YYYYMMDD.jsonl` by recorded day: consent_id, email, login, card (one or more of them), purpose,
            status (granted|withdrawn), lawful_basis, channel, decided_at, recorded_at.
experiments `exposures_YYYYMMDD.jsonl` by received day: exposure_id, experiment_id, variant (control|treatment),
            anonymous_id (the GA4 user_pseudo_id), user_id (login or null), exposed_at, received_at.
ecb_rates   `rates.csv`: rate_date,currency,rate (units of currency for one EUR), working days only.
"""

from __future__ import annotations

from etl.demo.company import Company, build_company
from etl.demo.files import DemoFiles, prepare, sources_config
from etl.demo.server import DemoServer, Fault, serve

__all__ = ["Company", "DemoFiles", "DemoServer", "Fault", "build_company", "prepare", "serve", "sources_config"]

#: The systems the demo company has: the names of their declarations in `etl.sources`.
SOURCES = (
    "consent",
    "crm_db",
    "devices",
    "ecb_rates",
    "experiments",
    "ga4",
    "hubspot",
    "klaviyo",
    "mastodon",
    "meta_ads",
    "shopify",
    "snowplow",
)

#: Of these systems the company uses some of the streams only.
STREAMS = {
    "hubspot": ("contacts", "contacts_archived"),
    "meta_ads": ("insights",),
    "shopify": ("orders", "customers", "products"),
}
