"""Countries as ISO 3166-1 alpha-2, from codes and from names in the languages sources write.

The names come with phonenumbers (Unicode CLDR); alpha-3 codes and customary short forms are the table below.
"""

from __future__ import annotations

from functools import lru_cache

import phonenumbers
import polars as pl

# Three-letter codes (ISO 3166-1 alpha-3, and IOC/vehicle forms that are in use) and names people write.
_ALSO = (
    "AFG AF ALB AL ARE AE ARG AR ARM AM AUS AU AUT AT AZE AZ BEL BE BGR BG BIH BA BLR BY BOL BO BRA BR CAN CA CHE CH "
    "CHL CL CHN CN COL CO CRI CR CYP CY CZE CZ DEU DE DNK DK DOM DO DZA DZ ECU EC EGY EG ESP ES EST EE FIN FI FRA FR "
    "GBR GB GEO GE GHA GH GRC GR HKG HK HRV HR HUN HU IDN ID IND IN IRL IE IRN IR IRQ IQ ISL IS ISR IL ITA IT JOR JO "
    "JPN JP KAZ KZ KEN KE KOR KR KWT KW LBN LB LIE LI LKA LK LTU LT LUX LU LVA LV MAR MA MCO MC MDA MD MEX MX MKD MK "
    "MLT MT MNE ME MYS MY NAM NA NGA NG NLD NL NOR NO NZL NZ OMN OM PAK PK PAN PA PER PE PHL PH POL PL PRI PR PRT PT "
    "PRY PY QAT QA ROU RO RUS RU SAU SA SGP SG SRB RS SVK SK SVN SI SWE SE THA TH TUN TN TUR TR TWN TW UKR UA URY UY "
    "USA US VEN VE VNM VN ZAF ZA UK GB EL GR GER DE SUI CH NED NL"
)
_ALIASES = {
    "america": "US", "u.s.": "US", "u.s.a.": "US", "united states of america": "US", "great britain": "GB",
    "england": "GB", "scotland": "GB", "wales": "GB", "northern ireland": "GB", "brd": "DE", "holland": "NL",
    "the netherlands": "NL", "czech republic": "CZ", "eire": "IE", "korea": "KR", "south korea": "KR",
    "russian federation": "RU", "turkey": "TR", "channel islands": "GB", "rsa": "ZA", "uae": "AE",
    "germany": "DE", "deutschland": "DE", "austria": "AT", "österreich": "AT", "switzerland": "CH", "schweiz": "CH",
    "france": "FR", "spain": "ES", "italy": "IT", "netherlands": "NL", "belgium": "BE", "poland": "PL",
    "united kingdom": "GB", "ireland": "IE", "united states": "US", "canada": "CA", "sweden": "SE", "denmark": "DK",
    "ivory coast": "CI", "macedonia": "MK", "swaziland": "SZ", "burma": "MM",
}  # fmt: skip
_SHORT = _ALIASES | dict(zip(_ALSO.casefold().split()[::2], _ALSO.split()[1::2], strict=True))
_LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pl", "pt", "sv", "da", "fi", "cs")
_CODES = frozenset(phonenumbers.SUPPORTED_REGIONS) | {"AQ", "BV", "GS", "HM", "PN", "TF", "UM"}


def country_code(value: str) -> str | None:
    """The alpha-2 code of a code or name; None when it is no country we can tell."""
    word = " ".join(value.split())
    if word.upper() in _CODES:
        return word.upper()
    folded = word.casefold()
    return _SHORT.get(folded) or (_names().get(folded) if len(folded) > 3 else None)


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """Lower-case name -> code. Read on the first name that is neither a code nor customary: it is large."""
    from phonenumbers.geodata.locale import LOCALE_DATA

    names: dict[str, str] = {}
    for code, by_language in LOCALE_DATA.items():
        if code not in _CODES:
            continue
        for language in _LANGUAGES:
            name = by_language.get(language, "")
            # `*aa` says: written as in `aa`.
            name = by_language.get(name[1:], "") if name.startswith("*") else name
            if name:
                names.setdefault(name.casefold(), code)
    return names


def normalised_country(column: str = "country") -> pl.Expr:
    """The column as alpha-2 codes; null where it is no country we can tell."""
    return pl.col(column).map_batches(_codes, return_dtype=pl.String)


def _codes(values: pl.Series) -> pl.Series:
    distinct = values.drop_nulls().unique()
    if distinct.is_empty():
        return pl.Series(values.name, [None] * len(values), dtype=pl.String)
    codes = pl.Series([country_code(value) for value in distinct.to_list()], dtype=pl.String)
    return values.replace_strict(distinct, codes, default=None, return_dtype=pl.String)
