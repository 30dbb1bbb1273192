"""The data dictionary says everything the declaration says."""

from __future__ import annotations

from etl import fields as f
from etl.model import Check, Layer, Severity, Table
from etl.serve.dictionary import dictionary
from tests.serve.conftest import MAP, PROFILES, VISITS

PAGE = """\
# gold.campaigns

What campaigns brought.

- **Grain**: one row per campaign
- **Key**: `campaign_id`
- **Built from**: [silver.visits](silver.visits.md)
- **Laid out**: in one piece
- **Owner**: marketing
- **Kept**: 30 days

## Columns

| column | type | unit | null | privacy | meaning |
| --- | --- | --- | --- | --- | --- |
| `campaign_id` | string |  | never |  | campaign, unique in its channel's system |
| `click_count` | int64 | clicks | may be |  | clicks |
| `email_open_pct` | float64 | % | may be |  | a \\| b |

## Checks

- `campaign_id`: unique
- `click_count`: at least 0
- `email_open_pct`: at least 0, at most 100
- column values to be increasing (`column=click_count`; warning): clicks only grow
"""


def test_a_page_tells_grain_key_inputs_columns_and_checks() -> None:
    table = Table(
        layer=Layer.GOLD,
        name="campaigns",
        description="What campaigns brought.",
        grain="one row per campaign",
        key=("campaign_id",),
        columns=(f.campaign_id.required, f.click_count, f.email_open_pct.named("email_open_pct", "a | b")),
        inputs=(VISITS,),
        checks=(
            Check(
                "expect_column_values_to_be_increasing", {"column": "click_count"}, Severity.WARNING, "clicks only grow"
            ),
        ),
        owner="marketing",
        retention_days=30,
    )

    assert {"gold.campaigns": PAGE} == dictionary([table])


def test_a_page_shows_the_customer_a_view_joins() -> None:
    page = dictionary([VISITS])["silver.visits"]

    assert "| `customer_id` | string |  | may be | pseudonym | one person across all sources; stable" in page
    assert "joined from `silver.identity_map`" in page


def test_pages_are_named_after_their_tables() -> None:
    assert ["silver.identity_map", "gold.profiles"] == list(dictionary([MAP, PROFILES]))
