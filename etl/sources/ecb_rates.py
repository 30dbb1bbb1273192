"""Euro reference rates of the European Central Bank: units of a currency for one euro, a line per day and currency.

https://www.ecb.europa.eu/stats/policy_and_exchange_rates/euro_reference_exchange_rates
"""

from __future__ import annotations

from etl.model import Feed, Files, Kind, Pick, Source, Stream

RATES = Stream(
    name="rates",
    kind=Kind.SNAPSHOT,
    request=Files(pattern="rates.csv", format="csv"),
    id=("rate_date", "currency"),
    feeds=(
        Feed(
            subject="exchange_rates",
            fields={
                "rate_date": Pick("rate_date", "date"),
                "base_currency": Pick(const="EUR"),
                "currency": Pick("currency"),
                "rate": Pick("rate", "number"),
            },
        ),
    ),
)

SOURCE = Source(name="ecb_rates", title="ECB reference rates", streams=(RATES,))
