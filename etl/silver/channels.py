"""The marketing channel of a visit: GA4's default channel grouping, in short.

Rules and their order: https://support.google.com/analytics/answer/9756891. Our names join what marketers read
together: paid and organic video are `video`, paid and organic shopping `shopping`; cross-network, audio, push and
paid traffic of no known kind are `unassigned`. Where a visit has no campaign tag the referring host speaks.
"""

from __future__ import annotations

import re

import polars as pl

# Names of hosts without their ending: `google` stands for google.com, www.google.de and news.google.co.uk.
SEARCH, SOCIAL, VIDEO, SHOPPING, MAIL = "search", "social", "video", "shopping", "mail"
_NAMES = {
    SEARCH: "aol ask baidu bing brave daum dogpile duckduckgo ecosia exalead fireball google kagi lycos metager mojeek "
    "msn naver onet presearch qwant rambler seznam sogou startpage swisscows virgilio yahoo yandex 360",
    SOCIAL: "bebo blogger blogspot bluesky bsky disqus facebook fb flickr flipboard foursquare gab glassdoor hootsuite "
    "instagram ig lemmy line linkedin livejournal lnkd mastodon medium meetup messenger myspace nextdoor odnoklassniki "
    "ok pinterest pixelfed quora reddit renren sinaweibo snapchat stackoverflow tagged telegram threads tiktok "
    "tripadvisor tumblr twitter viadeo vk vkontakte weibo whatsapp wordpress xing yammer yelp",
    VIDEO: "dailymotion disneyplus hulu iqiyi netflix peertube rutube twitch viddler vimeo youku youtube youtu",
    SHOPPING: "aliexpress alibaba amazon asos bol ebay etsy idealo mercadolibre otto rakuten shopify shopping "
    "shopzilla taobao tmall walmart wish zalando",
}  # fmt: skip
_CATEGORY = {name: category for category, names in _NAMES.items() for name in names.split()}
# Hosts that are not told by their name alone.
_HOSTS = {
    "t.co": SOCIAL, "x.com": SOCIAL, "t.me": SOCIAL, "google shopping": SHOPPING, "shopping.google.com": SHOPPING,
    "mail.google.com": MAIL, "mail.yahoo.com": MAIL, "outlook.live.com": MAIL, "outlook.office.com": MAIL,
    "outlook.office365.com": MAIL, "mail.gmx.net": MAIL, "webmail": MAIL, "deref-gmx.net": MAIL,
    "deref-web.de": MAIL, "com.google.android.gm": MAIL, "plus.google.com": SOCIAL, "groups.google.com": SOCIAL,
}  # fmt: skip
# Second-level labels under which names are registered (google.co.uk).
_SECOND_LEVEL = frozenset(["ac", "co", "com", "edu", "gov", "net", "org", "ne", "or"])

_PAID = re.compile(r"cp.*|ppc|retargeting|paid.*")
_SHOP = re.compile(r"(?:.*[^a-df-z]|)shop|shopping")
_SOCIAL_MEDIA = frozenset({"social", "social-network", "social-media", "sm", "social network", "social media"})
_DISPLAY = frozenset({"display", "banner", "expandable", "interstitial", "cpm"})
_MAIL_WORDS = frozenset({"email", "e-mail", "e_mail", "e mail"})
_NOTHING = frozenset({"", "(direct)", "(none)", "(not set)", "(not provided)"})


def category_of(source: str) -> str | None:
    """Whether a source or host is search, social, video, shopping or mail; None when it is none we know."""
    word = source.casefold().strip().rstrip(".")
    word = word.removeprefix("www.")
    if word in _HOSTS:
        return _HOSTS[word]
    labels = word.split(".")
    if len(labels) == 1:
        return _CATEGORY.get(word)
    registered = labels[-3] if len(labels) > 2 and labels[-2] in _SECOND_LEVEL else labels[-2]
    return _CATEGORY.get(registered)


def channel_of(source: str | None, medium: str | None, campaign: str | None, referrer: str | None = None) -> str:
    """The channel of a visit by its campaign tags, or, when it has none, by the host it came from.

    `referrer` is the referring host, None for a visit from nowhere or from our own pages.
    """
    source, medium = (source or "").strip().casefold(), (medium or "").strip().casefold()
    campaign = (campaign or "").strip().casefold()
    is_tagged = not {source, medium, campaign} <= _NOTHING
    if not is_tagged:
        return "direct" if not referrer else _untagged(referrer)
    return _tagged(source, medium, campaign)


def _untagged(referrer: str) -> str:
    by_category = {
        SEARCH: "organic_search",
        SOCIAL: "organic_social",
        VIDEO: "video",
        SHOPPING: "shopping",
        MAIL: "email",
    }
    return by_category.get(category_of(referrer) or "", "referral")


def _tagged(source: str, medium: str, campaign: str) -> str:  # the order is GA4's
    category = category_of(source)
    is_paid = _PAID.fullmatch(medium) is not None or ".cp" in medium
    if "cross-network" in campaign:
        return "unassigned"
    if category == SHOPPING or _SHOP.search(campaign):
        return "shopping"
    if is_paid and medium != "cpm":
        by_category = {SEARCH: "paid_search", SOCIAL: "paid_social", VIDEO: "video"}
        return by_category.get(category or "", "paid_social" if medium.endswith("social") else "unassigned")
    if medium in _DISPLAY:
        return "display"
    if category == SOCIAL or medium in _SOCIAL_MEDIA:
        return "organic_social"
    if category == VIDEO or "video" in medium:
        return "video"
    if category == SEARCH or medium == "organic":
        return "organic_search"
    if medium in {"referral", "app", "link"}:
        return "referral"
    if category == MAIL or source in _MAIL_WORDS or medium in _MAIL_WORDS or "newsletter" in medium:
        return "email"
    if medium in {"affiliate", "affiliates"}:
        return "affiliates"
    if source == "sms" or medium == "sms":
        return "sms"
    return "unassigned"


def with_channel(events: pl.LazyFrame) -> pl.LazyFrame:
    """Events with `channel`, from utm_source, utm_medium, utm_campaign, referrer_host and page_host.

    A referrer on the page's own host says nothing of where the visit came from.
    """
    came_from = pl.when(pl.col("referrer_host").ne_missing(pl.col("page_host"))).then("referrer_host")
    told = pl.struct("utm_source", "utm_medium", "utm_campaign", came_from.alias("_came_from"))
    return events.with_columns(told.map_batches(_channels, return_dtype=pl.String).alias("channel"))


def _channels(told: pl.Series) -> pl.Series:
    rows = told.struct.unnest()
    distinct = rows.unique(maintain_order=True)
    channels = pl.Series("channel", [channel_of(*row) for row in distinct.iter_rows()], dtype=pl.String)
    joined = rows.join(
        distinct.with_columns(channels), on=rows.columns, how="left", nulls_equal=True, maintain_order="left"
    )
    return joined["channel"]
