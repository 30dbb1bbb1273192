"""Every column name of the house: type, unit, meaning, privacy class. The same quantity has one name everywhere.

Suffixes promise: `_id _at (UTC) _date _days _amount (reporting currency unless `currency` stands beside it)
_pct _count _probability _key (keyed pseudonym of an identifier)`, and `is_ has_` for claims.
"""

from __future__ import annotations

from etl.model.column import Column, Privacy, Type

_S, _I, _F, _B = Type.STRING, Type.INT, Type.FLOAT, Type.BOOL
_D, _T, _A, _L = Type.DATE, Type.TIMESTAMP, Type.AMOUNT, Type.STRINGS
_PSEUDONYM, _PERSONAL, _SENSITIVE = (
    Privacy.PSEUDONYM,
    Privacy.PERSONAL,
    Privacy.SENSITIVE,
)

_CURRENCY = r"^[A-Z]{3}$"
_KEY = r"^[0-9a-f]{32}$"

# --- where a row comes from -----------------------------------------------------------------------------------------
day = Column("day", _D, "UTC day of the window that landed the row; the partition")
source = Column("source", _S, "system the row comes from")
stream = Column("stream", _S, "stream of that system")
record_id = Column("record_id", _S, "the source's own id of the record", privacy=_PSEUDONYM)
merged_into = Column("merged_into", _S, "record_id of the record that took this one's place", privacy=_PSEUDONYM)

# --- who: what sources may bring to say whose row it is -----------------------------------------------------------
email = Column("email", _S, "e-mail address, normalised", privacy=_PERSONAL)
email_sha256 = Column(
    "email_sha256",
    _S,
    "SHA-256 of the lower-cased address, as ad platforms give it",
    privacy=_PSEUDONYM,
)
phone = Column("phone", _S, "telephone number, E.164", privacy=_PERSONAL)
login = Column("login", _S, "account name or user id in our own shop or site", privacy=_PERSONAL)
card = Column(
    "card",
    _S,
    "loyalty or household card number; a person has one per programme",
    privacy=_PERSONAL,
)
cookie = Column("cookie", _S, "browser id", privacy=_PERSONAL)
device = Column("device", _S, "device id", privacy=_PERSONAL)
handle = Column("handle", _S, "account on a social network, user@host", privacy=_PERSONAL)

node_id = Column(
    "node_id",
    _S,
    "identity node of the row: the pseudonym that says most surely whose it is",
    privacy=_PSEUDONYM,
    pattern=_KEY,
)
email_key = Column(
    "email_key",
    _S,
    "keyed pseudonym of the e-mail address",
    privacy=_PSEUDONYM,
    pattern=_KEY,
)
phone_key = Column(
    "phone_key",
    _S,
    "keyed pseudonym of the telephone number",
    privacy=_PSEUDONYM,
    pattern=_KEY,
)
login_key = Column("login_key", _S, "keyed pseudonym of the login", privacy=_PSEUDONYM, pattern=_KEY)
card_key = Column(
    "card_key",
    _S,
    "keyed pseudonym of the loyalty card",
    privacy=_PSEUDONYM,
    pattern=_KEY,
)
cookie_key = Column("cookie_key", _S, "keyed pseudonym of the browser", privacy=_PSEUDONYM, pattern=_KEY)
device_key = Column("device_key", _S, "keyed pseudonym of the device", privacy=_PSEUDONYM, pattern=_KEY)
handle_key = Column(
    "handle_key",
    _S,
    "keyed pseudonym of the social account",
    privacy=_PSEUDONYM,
    pattern=_KEY,
)

customer_id = Column(
    "customer_id",
    _S,
    "one person across all sources; stable, never reused",
    privacy=_PSEUDONYM,
    pattern=r"^c_[0-9a-f]{24}$",
)
is_known = Column("is_known", _B, "true when something beyond a browser or device says who it is")

# --- the person -----------------------------------------------------------------------------------------------------
given_name = Column("given_name", _S, "given name as written", privacy=_PERSONAL)
family_name = Column("family_name", _S, "family name as written", privacy=_PERSONAL)
full_name = Column("full_name", _S, "name in one piece, where the source has it so", privacy=_PERSONAL)
birth_date = Column("birth_date", _D, "date of birth", privacy=_SENSITIVE)
national_id = Column(
    "national_id",
    _S,
    "number a state gave the person (social security, tax, identity card); compared, never joined by",
    privacy=_SENSITIVE,
)
street = Column("street", _S, "street and number", privacy=_PERSONAL)
postal_code = Column("postal_code", _S, "postal code as written", privacy=_PERSONAL)
city = Column("city", _S, "town", privacy=_PERSONAL)
region = Column("region", _S, "state or region")
country = Column("country", _S, "country, ISO 3166-1 alpha-2", pattern=r"^[A-Z]{2}$")
language = Column("language", _S, "language, ISO 639-1", pattern=r"^[a-z]{2}$")
company = Column("company", _S, "employer or organisation", privacy=_PERSONAL)
lifecycle_stage = Column("lifecycle_stage", _S, "stage in the CRM: subscriber, lead, customer ...")
age_band = Column("age_band", _S, "age band as the source gives it", privacy=_SENSITIVE)
income_band = Column("income_band", _S, "income band as the source gives it", privacy=_SENSITIVE)
household_size = Column(
    "household_size",
    _S,
    "persons in the household, as the source bands it",
    privacy=_SENSITIVE,
)
created_at = Column("created_at", _T, "when the source created the record")
updated_at = Column("updated_at", _T, "when the source last changed the record")
is_deleted = Column("is_deleted", _B, "true when the source deleted the record (a tombstone)")
provenance = Column(
    "provenance",
    _S,
    "JSON: attribute -> {source, node_id, updated_at} of the record each value was taken from",
    privacy=_PSEUDONYM,
)
record_count = Column(
    "record_count",
    _I,
    "source records joined in this customer",
    unit="records",
    minimum=0,
)
source_count = Column("source_count", _I, "systems that know this customer", unit="systems", minimum=0)
first_seen_at = Column("first_seen_at", _T, "earliest trace of the customer in any source")
sources = Column("sources", _L, "systems that say so, in alphabetical order")

# --- consent ----------------------------------------------------------------------------------------------------------
consent_id = Column("consent_id", _S, "one consent decision", privacy=_PSEUDONYM)
purpose = Column(
    "purpose",
    _S,
    "what consent is for",
    allowed=("email_marketing", "sms_marketing", "analytics", "personalisation", "ads"),
)
consent_status = Column("consent_status", _S, "the decision", allowed=("granted", "withdrawn"))
lawful_basis = Column(
    "lawful_basis",
    _S,
    "basis under GDPR Art. 6",
    allowed=("consent", "contract", "legitimate_interest"),
)
tc_string = Column("tc_string", _S, "consent string of IAB Europe's framework (TCF)", privacy=_PERSONAL)

# Ids of single events are pseudonyms: a source without one of its own makes it of a browser, a device, a card.
# --- events -----------------------------------------------------------------------------------------------------------
event_id = Column("event_id", _S, "one event, unique in its source", privacy=_PSEUDONYM)
event_name = Column("event_name", _S, "what happened, in the source's words")
event_at = Column("event_at", _T, "when it happened")
received_at = Column("received_at", _T, "when the collector received it")
sent_at = Column("sent_at", _T, "when the device sent it, by the device's clock")
device_at = Column("device_at", _T, "when it happened, by the device's clock")
source_session_id = Column("source_session_id", _S, "the source's own session id", privacy=_PSEUDONYM)
page_view_id = Column("page_view_id", _S, "the source's page view id", privacy=_PSEUDONYM)
page_url = Column("page_url", _S, "address of the page, as the source gives it", privacy=_PERSONAL)
page_path = Column("page_path", _S, "path of the page, without query or fragment")
page_host = Column("page_host", _S, "host of the page")
referrer_url = Column("referrer_url", _S, "address the visitor came from", privacy=_PERSONAL)
referrer_host = Column("referrer_host", _S, "host the visitor came from")
utm_source = Column("utm_source", _S, "campaign tag: source")
utm_medium = Column("utm_medium", _S, "campaign tag: medium")
utm_campaign = Column("utm_campaign", _S, "campaign tag: campaign")
channel = Column("channel", _S, "marketing channel (GA4's default grouping, in short)", allowed=(
    "direct", "organic_search", "paid_search", "organic_social", "paid_social", "email", "display", "referral",
    "affiliates", "sms", "video", "shopping", "unassigned"))  # fmt: skip
device_type = Column(
    "device_type",
    _S,
    "desktop, mobile, tablet, other",
    allowed=("desktop", "mobile", "tablet", "other"),
)
user_agent = Column("user_agent", _S, "browser's own description", privacy=_PERSONAL)
is_bot = Column("is_bot", _B, "true for robots; kept, counted, left out of sessions")
product_id = Column("product_id", _S, "product in the shop's catalogue")
product_name = Column("product_name", _S, "name of the product")
brand = Column("brand", _S, "brand of the product")
category = Column("category", _S, "top category of the product")

session_id = Column(
    "session_id",
    _S,
    "one session of a customer: activity with no gap over 30 minutes, on any device",
    privacy=_PSEUDONYM,
)
started_at = Column("started_at", _T, "first event")
ended_at = Column("ended_at", _T, "last event")
event_count = Column("event_count", _I, "events", unit="events", minimum=1)
page_view_count = Column("page_view_count", _I, "page views", unit="page views", minimum=0)
browser_count = Column("browser_count", _I, "distinct browsers", unit="browsers", minimum=0)
landing_page_path = Column("landing_page_path", _S, "path of the first page")

# --- orders -----------------------------------------------------------------------------------------------------------
order_id = Column("order_id", _S, "one order, unique in its source", privacy=_PSEUDONYM)
order_line_id = Column(
    "order_line_id",
    _S,
    "one line of an order, unique in its source",
    privacy=_PSEUDONYM,
)
ordered_at = Column("ordered_at", _T, "when the order was placed")
currency = Column("currency", _S, "currency of the amounts beside it, ISO 4217", pattern=_CURRENCY)
order_status = Column(
    "order_status",
    _S,
    "state of the order",
    allowed=("open", "paid", "partially_refunded", "refunded", "cancelled"),
)
gross_amount = Column("gross_amount", _A, "what was charged, in `currency`, before refunds")
refund_amount = Column(
    "refund_amount",
    _A,
    "what was given back, in `currency`, as a positive number",
    minimum=0,
)
net_amount = Column("net_amount", _A, "what is left after refunds, in `currency`, where the source gives it so")
discount_amount = Column("discount_amount", _A, "discounts, in `currency`, as a positive number")
revenue_amount = Column(
    "revenue_amount",
    _A,
    "gross less refunds, in the reporting currency at the order day's rate",
)
line_count = Column("line_count", _I, "lines of the order", unit="lines", minimum=0)
quantity = Column("quantity", _F, "pieces; negative for returns", unit="pieces")
unit_price_amount = Column("unit_price_amount", _A, "price of one piece, in `currency`")
line_amount = Column(
    "line_amount",
    _A,
    "what the line costs after discounts, in `currency`; negative for returns",
)
coupon_code = Column("coupon_code", _S, "coupon or discount code used")
rate_date = Column("rate_date", _D, "day the rate is of")
rate = Column(
    "rate",
    _F,
    "units of `currency` for one unit of the base currency (as the ECB publishes it)",
    minimum=0,
)
base_currency = Column("base_currency", _S, "the base the rate is against", pattern=_CURRENCY)

# --- e-mail, social, ads, devices, interactions ----------------------------------------------------------------------
campaign_id = Column("campaign_id", _S, "campaign, unique in its channel's system")
campaign_name = Column("campaign_name", _S, "name of the campaign")
campaign_type = Column("campaign_type", _S, "kind of campaign, in the source's words")
campaign_channel = Column("campaign_channel", _S, "channel the campaign runs in")
starts_on = Column("starts_on", _D, "first day")
ends_on = Column("ends_on", _D, "last day")
email_event = Column("email_event", _S, "what happened to the message", allowed=(
    "sent", "delivered", "opened", "clicked", "bounced", "unsubscribed", "complained"))  # fmt: skip
post_id = Column("post_id", _S, "one post, unique in its network", privacy=_PSEUDONYM)
network = Column("network", _S, "social or ad network")
posted_at = Column("posted_at", _T, "when it was posted")
text = Column("text", _S, "text of the post, without markup", privacy=_PERSONAL)
reply_count = Column("reply_count", _I, "replies", unit="replies", minimum=0)
share_count = Column("share_count", _I, "shares, boosts, retweets", unit="shares", minimum=0)
like_count = Column("like_count", _I, "likes, favourites", unit="likes", minimum=0)
ad_date = Column("ad_date", _D, "day of the report, in the ad account's time zone")
ad_id = Column("ad_id", _S, "one ad")
impression_count = Column("impression_count", _I, "times shown", unit="impressions", minimum=0)
click_count = Column("click_count", _I, "clicks", unit="clicks", minimum=0)
lead_count = Column("lead_count", _I, "leads the network reports", unit="leads", minimum=0)
cost_amount = Column("cost_amount", _A, "money spent", minimum=0)
interaction_id = Column(
    "interaction_id", _S, "one contact between a campaign or experiment and a person", privacy=_PSEUDONYM
)
interaction_type = Column(
    "interaction_type",
    _S,
    "what kind of contact",
    allowed=("targeted", "exposed", "redeemed"),
)
experiment_id = Column("experiment_id", _S, "experiment the exposure belongs to")
variant = Column("variant", _S, "arm of the experiment")
reading_id = Column("reading_id", _S, "one reading of a device", privacy=_PSEUDONYM)
metric = Column("metric", _S, "what the device measured")
metric_value = Column("metric_value", _F, "the reading, in the metric's own unit")

# --- the ledger of identity -------------------------------------------------------------------------------------------
edge_kind = Column("edge_kind", _S, "kind of identifier that makes the edge; null: the node by itself", allowed=(
    "email", "phone", "login", "card", "cookie", "device", "handle", "ruling"))  # fmt: skip
left_node_id = node_id.named("left_node_id", "the record or the surer identifier")
right_node_id = node_id.named("right_node_id", "the identifier; the node itself where the row only says it was seen")
left_node_ids = Column("left_node_ids", _L, "the nodes of the one side", privacy=_PSEUDONYM)
right_node_ids = Column("right_node_ids", _L, "the nodes of the other side", privacy=_PSEUDONYM)
edge_count = Column("edge_count", _I, "times seen together", unit="rows", minimum=1)
first_at = Column("first_at", _T, "first time seen together")
last_at = Column("last_at", _T, "last time seen together")
edge_state = Column(
    "edge_state",
    _S,
    "what became of the edge",
    allowed=("used", "denied", "capped", "ambiguous", "conflict", "vetoed", "ruled_out"),
)
model_version = Column(
    "model_version", _I, "number of the linkage model, from 1; the highest is the one in use", minimum=1
)
compared_fingerprint = Column("compared_fingerprint", _S, "fingerprint of the comparison set the model was learnt for")
learnt_from = Column(
    "learnt_from",
    _S,
    "known_pairs: of records identifiers had joined; em: expectation maximisation, where those were too few",
    allowed=("known_pairs", "em"),
)
learnt_at = Column("learnt_at", _T, "as of which build the model was learnt")
learnt_of = Column("learnt_of", _S, "JSON: table -> version the model was learnt from")
parameters = Column(
    "parameters", _S, "JSON: the prior, m and u of every level, and the comparison set; probabilities alone"
)
match_probability = Column(
    "match_probability", _F, "probability that both are one person, by the model", minimum=0, maximum=1
)
match_weight = Column("match_weight", _F, "the same as a sum: the prior's weight and every comparison's", unit="bits")
match_state = Column("match_state", _S, "what became of the match; `itself`: the representative alone", allowed=(
    "itself", "link", "review", "weak", "ambiguous", "conflict", "vetoed", "ruled_out"))  # fmt: skip
compared_levels = Column("compared_levels", _S, "JSON: comparison -> level that holds; null: nothing to compare")
representative_digest = Column(
    "representative_digest", _S, "keyed digest of what the representative was compared by", privacy=_PSEUDONYM
)
node_kind = Column("node_kind", _S, "record, or the kind of identifier", allowed=(
    "record", "card", "login", "email", "phone", "handle", "cookie", "device", "unknown"))  # fmt: skip
valid_from = Column("valid_from", _T, "from when on it held in the world")
valid_to = Column("valid_to", _T, "until when it held; null: still")
known_from = Column("known_from", _T, "as of which build (end of its window) it was known")
known_to = Column("known_to", _T, "until which build it was held true; null: still")
identity_event_id = Column("identity_event_id", _S, "one change of identity", privacy=_PSEUDONYM)
identity_event = Column("identity_event", _S, "what changed", allowed=(
    "create", "merge", "split", "undo", "retire", "ruling"))  # fmt: skip
other_customer_id = Column(
    "other_customer_id",
    _S,
    "the customer merged away, split from or come out of again; of a ruling, the other side's",
    privacy=_PSEUDONYM,
)
node_count = Column("node_count", _I, "nodes moved by the change, or ruled about", unit="nodes", minimum=0)

# --- gold: the customer and the campaign at a glance ------------------------------------------------------------------
as_of_date = Column("as_of_date", _D, "last day counted; 30 and 90 day windows end with it")
last_seen_at = Column(
    "last_seen_at",
    _T,
    "last time the customer did something: visited, ordered, opened, clicked, posted, redeemed, used a device",
)
order_count = Column("order_count", _I, "paid orders, later refunded ones included", unit="orders", minimum=0)
order_30d_count = Column("order_30d_count", _I, "paid orders of the last 30 days", unit="orders", minimum=0)
order_90d_count = Column("order_90d_count", _I, "paid orders of the last 90 days", unit="orders", minimum=0)
refunded_order_count = Column(
    "refunded_order_count", _I, "paid orders refunded in whole or in part", unit="orders", minimum=0
)
cancelled_order_count = Column("cancelled_order_count", _I, "orders cancelled before payment", unit="orders", minimum=0)
coupon_order_count = Column("coupon_order_count", _I, "paid orders with a coupon", unit="orders", minimum=0)
first_order_date = Column("first_order_date", _D, "UTC day of the first paid order")
last_order_date = Column("last_order_date", _D, "UTC day of the last paid order")
recency_days = Column(
    "recency_days",
    _I,
    "days from the last paid order to `as_of_date`; 0 on the day of the order",
    unit="days",
    minimum=0,
)
tenure_days = Column("tenure_days", _I, "days from the first paid order to `as_of_date`", unit="days", minimum=0)
days_between_orders = Column(
    "days_between_orders",
    _F,
    "mean days from one paid order to the next; null with fewer than two",
    unit="days",
    minimum=0,
)
total_revenue_amount = revenue_amount.named(
    "revenue_amount", "revenue of all paid orders, refunds deducted, in the reporting currency"
)
revenue_30d_amount = revenue_amount.named(
    "revenue_30d_amount", "revenue of the paid orders of the last 30 days, in the reporting currency"
)
revenue_90d_amount = revenue_amount.named(
    "revenue_90d_amount", "revenue of the paid orders of the last 90 days, in the reporting currency"
)
monetary_amount = revenue_amount.named(
    "monetary_amount", "mean revenue of a paid order, refunds deducted, in the reporting currency"
)
total_refund_amount = Column(
    "refund_amount", _A, "given back on paid orders, in the reporting currency, as a positive number", minimum=0
)
total_discount_amount = Column(
    "discount_amount", _A, "discounts on paid orders, in the reporting currency, as a positive number"
)
currency_count = Column("currency_count", _I, "currencies paid in", unit="currencies", minimum=0)
item_count = Column("item_count", _F, "pieces bought in paid orders, returned ones deducted", unit="pieces")
product_count = Column("product_count", _I, "different products in paid orders", unit="products", minimum=0)
category_count = Column("category_count", _I, "different categories in paid orders", unit="categories", minimum=0)
top_category = Column("top_category", _S, "category most was spent on; the first by name where two are level")
session_count = Column("session_count", _I, "sessions", unit="sessions", minimum=0)
session_30d_count = Column("session_30d_count", _I, "sessions of the last 30 days", unit="sessions", minimum=0)
session_90d_count = Column("session_90d_count", _I, "sessions of the last 90 days", unit="sessions", minimum=0)
first_session_date = Column("first_session_date", _D, "UTC day of the first session")
last_session_date = Column("last_session_date", _D, "UTC day of the last session")
web_event_count = Column("web_event_count", _I, "web events in the sessions", unit="events", minimum=0)
page_views_per_session = Column(
    "page_views_per_session", _F, "mean page views of a session", unit="page views", minimum=0
)
first_touch_channel = channel.named("first_touch_channel", "first touch: channel of the first session")
last_touch_channel = channel.named("last_touch_channel", "last touch: channel of the last session")
channel_count = Column("channel_count", _I, "different channels sessions came from", unit="channels", minimum=0)
first_touch_campaign = utm_campaign.named("first_touch_campaign", "campaign tag of the first session that has one")
last_touch_campaign = utm_campaign.named("last_touch_campaign", "campaign tag of the last session that has one")
main_device_type = device_type.named("main_device_type", "device type of most sessions; the first by name when level")
device_types = Column("device_types", _L, "device types used, by name")
email_sent_count = Column("email_sent_count", _I, "e-mails sent", unit="e-mails", minimum=0)
email_delivered_count = Column("email_delivered_count", _I, "e-mails delivered", unit="e-mails", minimum=0)
email_opened_count = Column("email_opened_count", _I, "openings, repeated ones included", unit="openings", minimum=0)
email_clicked_count = Column("email_clicked_count", _I, "clicks, repeated ones included", unit="clicks", minimum=0)
email_bounced_count = Column("email_bounced_count", _I, "e-mails bounced", unit="e-mails", minimum=0)
email_unsubscribed_count = Column("email_unsubscribed_count", _I, "unsubscriptions", unit="unsubscriptions", minimum=0)
email_opened_30d_count = Column(
    "email_opened_30d_count", _I, "openings of the last 30 days", unit="openings", minimum=0
)
email_opened_90d_count = Column(
    "email_opened_90d_count", _I, "openings of the last 90 days", unit="openings", minimum=0
)
email_clicked_30d_count = Column("email_clicked_30d_count", _I, "clicks of the last 30 days", unit="clicks", minimum=0)
email_clicked_90d_count = Column("email_clicked_90d_count", _I, "clicks of the last 90 days", unit="clicks", minimum=0)
email_open_pct = Column(
    "email_open_pct",
    _F,
    "share of delivered e-mails opened at least once; a person gets one e-mail of a campaign; null when none arrived",
    unit="%",
    minimum=0,
    maximum=100,
)
email_click_pct = Column(
    "email_click_pct",
    _F,
    "share of delivered e-mails clicked at least once; a person gets one e-mail of a campaign; null when none arrived",
    unit="%",
    minimum=0,
    maximum=100,
)
last_email_opened_at = Column("last_email_opened_at", _T, "last opening of an e-mail")
is_email_reachable = Column(
    "is_email_reachable",
    _B,
    "true when there is an address, consent to e-mail marketing holds, nothing was unsubscribed or complained of "
    "since, and the mailbox has not bounced since its last sign of life",
)
post_count = Column("post_count", _I, "posts", unit="posts", minimum=0)
post_like_count = Column("post_like_count", _I, "likes of the customer's posts", unit="likes", minimum=0)
last_posted_at = Column("last_posted_at", _T, "last post")
targeted_count = Column("targeted_count", _I, "times targeted by a campaign", unit="contacts", minimum=0)
exposed_count = Column("exposed_count", _I, "times exposed to a campaign or experiment", unit="contacts", minimum=0)
redeemed_count = Column("redeemed_count", _I, "coupons redeemed", unit="redemptions", minimum=0)
device_reading_count = Column("device_reading_count", _I, "readings of devices", unit="readings", minimum=0)
last_device_at = Column("last_device_at", _T, "last reading of a device")
has_email = Column("has_email", _B, "true when an e-mail address is known")
has_phone = Column("has_phone", _B, "true when a telephone number is known")
has_consent_email_marketing = Column(
    "has_consent_email_marketing", _B, "latest decision on e-mail marketing; null: never asked"
)
has_consent_sms_marketing = Column(
    "has_consent_sms_marketing", _B, "latest decision on SMS marketing; null: never asked"
)
has_consent_analytics = Column("has_consent_analytics", _B, "latest decision on analytics; null: never asked")
has_consent_personalisation = Column(
    "has_consent_personalisation", _B, "latest decision on personalisation; null: never asked"
)
has_consent_ads = Column("has_consent_ads", _B, "latest decision on advertising; null: never asked")
total_cost_amount = cost_amount.named(
    "cost_amount", "money spent, in the reporting currency; null where no source reports a cost"
)
click_through_pct = Column("click_through_pct", _F, "CTR: clicks of impressions; null without impressions", unit="%")
cost_per_click_amount = Column(
    "cost_per_click_amount", _A, "CPC, in the reporting currency; null without clicks", minimum=0
)
cost_per_lead_amount = Column(
    "cost_per_lead_amount", _A, "CPL, in the reporting currency; null without leads", minimum=0
)
conversion_count = Column(
    "conversion_count",
    _I,
    "paid orders that carry the campaign's tag, or follow a redemption of it by the same customer on the same day",
    unit="orders",
    minimum=0,
)
cost_per_conversion_amount = Column(
    "cost_per_conversion_amount", _A, "cost of one conversion, in the reporting currency; null without any", minimum=0
)
conversion_revenue_amount = revenue_amount.named(
    "conversion_revenue_amount", "revenue of the conversions, refunds deducted, in the reporting currency"
)
return_on_ad_spend = Column(
    "return_on_ad_spend", _F, "ROAS: revenue of the conversions for one unit of cost; null without cost"
)
# --- end of gold ------------------------------------------------------------------------------------------------------
