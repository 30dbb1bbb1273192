"""Web events as the two trackers write them: GA4's BigQuery export (JSON lines), Snowplow's enriched events (CSV).

At-least-once as in life: about one event in a hundred stands twice; lines are in no order. Snowplow's files go by
collector day, and a few of its events were collected one or two days after they happened. Robots browse the magazine.
"""

from __future__ import annotations

import hashlib
from random import Random

from etl.demo.commerce import Product, build_products
from etl.demo.company import Company
from etl.demo.names import BOTS, BROWSERS
from etl.demo.records import DAY_MS, Truth, clock, compact_day, iso_day, ms_of, new_uuid
from etl.demo.traffic import Visit

SHOP_HOST = "www.nordlicht.example"
MAGAZINE_HOST = "magazin.nordlicht.example"
ARTICLES = tuple(f"/magazin/{word}" for word in (
    "polarlichter-sehen", "zelten-im-winter", "hygge-zuhause", "wandern-mit-kindern", "feuer-machen",
    "wolle-pflegen", "rezepte-eintopf", "packliste-huettentour", "sauna-regeln", "garten-im-januar"))  # fmt: skip
_TWICE = 0.01

SNOWPLOW_COLUMNS = (
    "app_id",
    "platform",
    "etl_tstamp",
    "collector_tstamp",
    "dvce_created_tstamp",
    "event",
    "event_id",
    "txn_id",
    "name_tracker",
    "v_tracker",
    "v_collector",
    "v_etl",
    "user_id",
    "user_ipaddress",
    "user_fingerprint",
    "domain_userid",
    "domain_sessionidx",
    "network_userid",
    "geo_country",
    "geo_region",
    "geo_city",
    "geo_zipcode",
    "geo_latitude",
    "geo_longitude",
    "geo_region_name",
    "ip_isp",
    "ip_organization",
    "ip_domain",
    "ip_netspeed",
    "page_url",
    "page_title",
    "page_referrer",
    "page_urlscheme",
    "page_urlhost",
    "page_urlport",
    "page_urlpath",
    "page_urlquery",
    "page_urlfragment",
    "refr_urlscheme",
    "refr_urlhost",
    "refr_urlport",
    "refr_urlpath",
    "refr_urlquery",
    "refr_urlfragment",
    "refr_medium",
    "refr_source",
    "refr_term",
    "mkt_medium",
    "mkt_source",
    "mkt_term",
    "mkt_content",
    "mkt_campaign",
    "se_category",
    "se_action",
    "se_label",
    "se_property",
    "se_value",
    "tr_orderid",
    "tr_affiliation",
    "tr_total",
    "tr_tax",
    "tr_shipping",
    "tr_city",
    "tr_state",
    "tr_country",
    "ti_orderid",
    "ti_sku",
    "ti_name",
    "ti_category",
    "ti_price",
    "ti_quantity",
    "pp_xoffset_min",
    "pp_xoffset_max",
    "pp_yoffset_min",
    "pp_yoffset_max",
    "useragent",
    "br_name",
    "br_family",
    "br_version",
    "br_type",
    "br_renderengine",
    "br_lang",
    "br_features_pdf",
    "br_features_flash",
    "br_features_java",
    "br_features_director",
    "br_features_quicktime",
    "br_features_realplayer",
    "br_features_windowsmedia",
    "br_features_gears",
    "br_features_silverlight",
    "br_cookies",
    "br_colordepth",
    "br_viewwidth",
    "br_viewheight",
    "os_name",
    "os_family",
    "os_manufacturer",
    "os_timezone",
    "dvce_type",
    "dvce_ismobile",
    "dvce_screenwidth",
    "dvce_screenheight",
    "doc_charset",
    "doc_width",
    "doc_height",
    "tr_currency",
    "tr_total_base",
    "tr_tax_base",
    "tr_shipping_base",
    "ti_currency",
    "ti_price_base",
    "base_currency",
    "geo_timezone",
    "mkt_clickid",
    "mkt_network",
    "etl_tags",
    "dvce_sent_tstamp",
    "refr_domain_userid",
    "refr_dvce_tstamp",
    "domain_sessionid",
    "derived_tstamp",
    "event_vendor",
    "event_name",
    "event_format",
    "event_version",
    "event_fingerprint",
    "true_tstamp",
    "load_tstamp",
    "contexts_com_snowplowanalytics_snowplow_web_page_1_0_0",
    "contexts_com_nordlicht_identity_1_0_0",
)

_PLACE = {name: place for place, name in enumerate(SNOWPLOW_COLUMNS)}
_EVENT, _EVENT_NAME, _EVENT_ID = _PLACE["event"], _PLACE["event_name"], _PLACE["event_id"]
_COLLECTOR, _ETL, _LOAD = _PLACE["collector_tstamp"], _PLACE["etl_tstamp"], _PLACE["load_tstamp"]
_CREATED, _SENT, _DERIVED = _PLACE["dvce_created_tstamp"], _PLACE["dvce_sent_tstamp"], _PLACE["derived_tstamp"]
_WEB_PAGE = _PLACE["contexts_com_snowplowanalytics_snowplow_web_page_1_0_0"]


def email_hash(address: str) -> str:
    """SHA-256 of the trimmed, lower-cased address, hex: as ad platforms ask for it."""
    return hashlib.sha256(address.strip().lower().encode()).hexdigest()


def ga4_files(company: Company, truth: Truth) -> dict[str, list[str]]:
    """File name -> JSON lines, one file a UTC day, by the day of the event."""
    rng = Random(f"{company.seed}:ga4")
    products = build_products()
    files: dict[str, list[str]] = {f"events_{compact_day(at)}.jsonl": [] for at in _midnights(company)}
    end = ms_of(company.end)
    for visit in company.visits:
        if visit.site == "shop":
            for at, line in _ga4_visit(rng, visit, products, end):
                lines = files[f"events_{compact_day(at)}.jsonl"]
                lines.append(line)
                if rng.random() < _TWICE:
                    lines.append(line)
    for lines in files.values():
        rng.shuffle(lines)
    names = sorted(files)
    for place, kind in enumerate(("missing_timestamp", "missing_timestamp", "far_future_timestamp",
                                  "far_future_timestamp", "malformed_line", "malformed_line")):  # fmt: skip
        lines = files[names[min(2 + place, len(names) - 1)]]
        if lines:
            lines.append(_spoilt_ga4(lines[place % len(lines)], kind))
            truth.spoil("ga4", "events", kind)
    return files


def snowplow_files(company: Company, truth: Truth) -> dict[str, list[str]]:
    """File name -> CSV lines with header, one file a UTC day, by the day the collector received the event."""
    rng = Random(f"{company.seed}:snowplow")
    rows: dict[str, list[list[str]]] = {f"events_{compact_day(at)}.csv": [] for at in _midnights(company)}
    end = ms_of(company.end)
    for visit in company.visits:
        if visit.site == "magazine":
            for at, cells in _snowplow_visit(rng, visit, end):
                name = f"events_{compact_day(at)}.csv"
                rows[name].append(cells)
                if rng.random() < _TWICE:
                    rows[name].append(cells)
    names = sorted(rows)
    for place, kind in enumerate(("missing_event_id",) * 3 + ("far_future_timestamp",) * 2):
        lines = rows[names[min(1 + place, len(names) - 1)]]
        if lines:
            cells = lines[place % len(lines)].copy()
            cells[_EVENT_ID] = "" if kind == "missing_event_id" else new_uuid(rng)
            if kind == "far_future_timestamp":
                cells[_DERIVED] = cells[_CREATED] = cells[_SENT] = "2099-12-31 00:00:00.000"
            lines.append(cells)
            truth.spoil("snowplow", "events", kind, cells[_EVENT_ID])
    header = ",".join(SNOWPLOW_COLUMNS)
    return {name: [header, *(",".join(cells) for cells in lines)] for name, lines in rows.items()}


def _midnights(company: Company) -> range:
    return range(ms_of(company.start), ms_of(company.end), DAY_MS)


def _param(key: str, value: str, kind: str = "string_value") -> str:
    return f'{{"key":"{key}","value":{{"{kind}":"{value}"}}}}'


def _ga4_visit(rng: Random, visit: Visit, products: tuple[Product, ...], end: int) -> list[tuple[int, str]]:
    """(time in ms, JSON line) of every event of one visit."""
    person = visit.person
    goods = [line.product for line in visit.order.lines] if visit.order else [rng.choice(products)]
    query = (
        f"?utm_source={visit.source}&utm_medium={visit.medium}&utm_campaign={visit.campaign}"
        if visit.medium in ("email", "paid_social", "cpc")
        else ""
    )
    tail = _ga4_tail(visit, is_tagged=bool(query))
    login = f'"user_id":"{person.login}",' if person and visit.is_known and person.login else ""
    hashed = ""
    if person and visit.says_email:
        digest = email_hash(visit.order.email if visit.order else person.email)
        hashed = f'{{"key":"email_sha256","value":{{"string_value":"{digest}"}}}}'
    offset = int(rng.random() * 900_000)
    at, previous, is_logged_in, is_told = visit.at, visit.referrer, False, visit.medium == "email"
    events: list[tuple[int, str]] = []
    for ordinal, (event, path, product) in enumerate(_ga4_steps(rng, visit, goods)):
        if event not in ("first_visit", "session_start") and ordinal:
            at += 1000 + int(rng.random() * 45_000)
        if event == "purchase" and visit.order:
            at = max(visit.order.at, at)
        if at >= end:
            break
        is_logged_in = is_logged_in or event == "login" or ordinal > 3
        is_told = is_told or event == "purchase"
        page = f"https://{SHOP_HOST}{path}{query if ordinal < 3 else ''}"
        params = (
            _param("ga_session_id", str(visit.at // 1000), "int_value"),
            _param("ga_session_number", str(visit.number), "int_value"),
            _param("page_location", page),
            _param("page_referrer", previous),
            _param("engagement_time_msec", str(100 + int(rng.random() * 30_000)), "int_value"),
        )
        previous = visit.referrer if ordinal < 2 else page
        line = (
            f'{{"event_date":"{compact_day(at)}","event_timestamp":"{at * 1000 + ordinal}","event_name":"{event}",'
            f'"event_params":[{",".join(params)}],"event_bundle_sequence_id":"{visit.at % 1_000_000_007}",'
            f'"event_server_timestamp_offset":"{offset}",{login if is_logged_in else ""}'
            f'"user_pseudo_id":"{visit.browser.ga}","user_properties":[{hashed if is_told else ""}],'
            f'"user_first_touch_timestamp":"{visit.browser.first_at * 1000}",'
            f'"batch_ordering_id":"{ordinal + 1}",{tail}{_ga4_items(event, visit, product)}}}'
        )
        events.append((at, line))
    return events


def _ga4_steps(rng: Random, visit: Visit, goods: list[Product]) -> list[tuple[str, str, Product | None]]:
    """(event, path, product) in order: what a visitor does before leaving or paying."""
    steps: list[tuple[str, str, Product | None]] = [("session_start", "/", None), ("page_view", "/", None)]
    if visit.number == 1:
        steps.insert(0, ("first_visit", "/", None))
    if visit.is_known:
        steps.append(("login", "/konto", None))
    for product in goods:
        path = f"/produkt/{product.sku.lower()}"
        steps += [("page_view", path, product), ("view_item", path, product)]
    if visit.order or rng.random() < 0.25:
        steps.append(("add_to_cart", f"/produkt/{goods[-1].sku.lower()}", goods[-1]))
    if visit.order:
        steps += [("begin_checkout", "/kasse", None), ("purchase", "/kasse/danke", None)]
    elif rng.random() < 0.3:
        steps.append(("page_view", "/kategorie/" + goods[0].category.lower(), None))
    return steps


def _ga4_tail(visit: Visit, *, is_tagged: bool) -> str:
    """The part of the JSON that is the same for all events of a visit."""
    category, system, name, _ = BROWSERS[visit.browser.make]
    person = visit.person
    continent, country, city = (
        (person.land.continent, person.land.title, person.city) if person else ("Europe", "Germany", "(not set)")
    )
    source, medium = (visit.source, visit.medium) if is_tagged else ("", "")
    return (
        f'"device":{{"category":"{category}","operating_system":"{system}","language":"de-de",'
        f'"web_info":{{"browser":"{name}","hostname":"{SHOP_HOST}"}}}},'
        f'"geo":{{"continent":"{continent}","country":"{country}","city":"{city}"}},'
        f'"traffic_source":{{"name":"{visit.campaign or "(direct)"}","medium":"{visit.medium}",'
        f'"source":"{visit.source}"}},"collected_traffic_source":{{"manual_campaign_name":{_quoted(visit.campaign)},'
        f'"manual_source":{_quoted(source)},"manual_medium":{_quoted(medium)}}},'
        f'"stream_id":"4711000001","platform":"WEB","is_active_user":true'
    )


def _ga4_items(event: str, visit: Visit, product: Product | None) -> str:
    """`ecommerce` and `items` of an event, with the comma before; empty where an event has none."""
    if event == "purchase" and visit.order:
        order = visit.order
        items = ",".join(
            f'{{"item_id":"{line.product.id}","item_name":"{line.product.title}",'
            f'"item_category":"{line.product.category}","quantity":"{line.pieces}"}}'
            for line in order.lines
        )
        return (
            f',"ecommerce":{{"transaction_id":"{order.id}","purchase_revenue":{order.own_gross / 100:.2f},'
            f'"total_item_quantity":"{sum(line.pieces for line in order.lines)}"}},"items":[{items}]'
        )
    if product is None or event == "page_view":
        return ""
    return (
        f',"items":[{{"item_id":"{product.id}","item_name":"{product.title}",'
        f'"item_category":"{product.category}","price":{product.cents / 100:.2f},"quantity":"1"}}]'
    )


def _quoted(text: str) -> str:
    return f'"{text}"' if text else "null"


def _spoilt_ga4(line: str, kind: str) -> str:
    if kind == "malformed_line":
        return line[: len(line) // 2]
    start = line.index('"event_timestamp":"')
    stop = line.index('"', start + len('"event_timestamp":"')) + 2
    if kind == "missing_timestamp":
        return line[:start] + line[stop:]
    return line[:start] + '"event_timestamp":"4102444800000000",' + line[stop:]


def _stamp(moment: int) -> str:
    """`2026-01-05 10:20:30.123`."""
    return f"{iso_day(moment // DAY_MS)} {clock(moment)}.{moment % 1000:03d}"


def _snowplow_visit(rng: Random, visit: Visit, end: int) -> list[tuple[int, list[str]]]:
    """(collector time in ms, cells) of every event of one visit to the magazine."""
    browser = visit.browser
    is_robot = browser.make < 0
    cells = _snowplow_cells(rng, visit)
    delay = int((0.3 + 1.7 * rng.random()) * DAY_MS) if rng.random() < 0.012 else int(rng.random() * 3000) + 40
    at = visit.at
    events: list[tuple[int, list[str]]] = []
    for ordinal in range(1 + int(rng.random() * (8 if is_robot else 4))):
        path = ARTICLES[int(rng.random() ** 1.5 * len(ARTICLES))]
        _turn_page(cells, visit, path, is_first=ordinal == 0)
        cells[_WEB_PAGE] = f'"[{{""id"":""{new_uuid(rng)}""}}]"'
        for event in ("page_view",) + ("page_ping",) * (0 if is_robot else int(rng.random() * 3)):
            collected, created = at + delay, at + browser.skew
            if collected >= end:
                break
            row = cells.copy()
            row[_EVENT] = row[_EVENT_NAME] = event
            row[_EVENT_ID] = new_uuid(rng)
            row[_COLLECTOR] = _stamp(collected)
            row[_ETL] = _stamp(collected + 900)
            row[_LOAD] = _stamp(collected + 2000)
            row[_CREATED] = _stamp(created)
            row[_SENT] = _stamp(created + delay - 20)  # an event that waited was sent when there was a net again
            # Snowplow derives the true time as collected - (sent - created): the device's clock cancels out.
            row[_DERIVED] = _stamp(at + 20)
            events.append((collected, row))
            at += 10_000
        at += 5000 + int(rng.random() * 90_000)
    return events


def _snowplow_cells(rng: Random, visit: Visit) -> list[str]:
    """The cells all events of a visit share."""
    browser, person = visit.browser, visit.person
    is_robot = browser.make < 0
    kind, system, family = ("desktop", "", "Robot") if is_robot else BROWSERS[browser.make][:3]
    agent = BOTS[-1 - browser.make] if is_robot else BROWSERS[browser.make][3]
    known = {
        "app_id": "magazine",
        "platform": "web",
        "name_tracker": "sp1",
        "v_tracker": "js-4.6.0",
        "v_collector": "ssc-3.1.2-kafka",
        "v_etl": "stream-enrich-5.1.0",
        "user_id": person.login if person and visit.is_known else "",
        "user_ipaddress": "203.0.113.0",
        "domain_userid": browser.sp,
        "domain_sessionidx": str(visit.number),
        "domain_sessionid": new_uuid(rng),
        "geo_country": person.land.code if person else "DE",
        "page_urlscheme": "https",
        "page_urlhost": MAGAZINE_HOST,
        "page_urlport": "443",
        "useragent": f'"{agent}"',
        "br_name": family,
        "br_family": family,
        "br_type": "Robot" if is_robot else "Browser",
        "br_lang": {"de": "de-DE", "en": "en-GB", "pl": "pl-PL"}[person.land.language if person else "de"],
        "br_cookies": "1",
        "br_colordepth": "24",
        "br_viewwidth": "1200",
        "br_viewheight": "900",
        "os_name": system,
        "os_family": system,
        "os_timezone": "Europe/Berlin",
        "geo_timezone": "Europe/Berlin",
        "dvce_type": kind,
        "dvce_ismobile": "0" if kind == "desktop" else "1",
        "dvce_screenwidth": "1920",
        "dvce_screenheight": "1080",
        "doc_charset": "UTF-8",
        "event_vendor": "com.snowplowanalytics.snowplow",
        "event_format": "jsonschema",
        "event_version": "1-0-0",
    }
    if person and ((visit.is_known and not person.login) or person.number % 9 == 0):
        # came by the newsletter's link, which carries the hash
        known["contexts_com_nordlicht_identity_1_0_0"] = f'"[{{""email_sha256"":""{email_hash(person.email)}""}}]"'
    cells = [""] * len(SNOWPLOW_COLUMNS)
    for name, value in known.items():
        cells[_PLACE[name]] = value
    return cells


def _turn_page(cells: list[str], visit: Visit, path: str, *, is_first: bool) -> None:
    """Set what changes with the page; campaign tags and the outside referrer stand on the first page only."""
    is_tagged = is_first and visit.medium in ("paid_social", "cpc")
    source, medium, campaign = (visit.source, visit.medium, visit.campaign) if is_tagged else ("", "", "")
    query = f"utm_source={source}&utm_medium={medium}&utm_campaign={campaign}" if is_tagged else ""
    referrer = visit.referrer if is_first else f"https://{MAGAZINE_HOST}/"
    for name, value in (
        ("page_url", f"https://{MAGAZINE_HOST}{path}{'?' + query if query else ''}"),
        ("page_title", path.rsplit("/", 1)[1].replace("-", " ").title()),
        ("page_referrer", referrer),
        ("page_urlpath", path),
        ("page_urlquery", query),
        ("refr_urlscheme", "https" if referrer else ""),
        ("refr_urlhost", referrer.split("/")[2] if referrer else ""),
        ("mkt_source", source),
        ("mkt_medium", medium),
        ("mkt_campaign", campaign),
    ):
        cells[_PLACE[name]] = value
