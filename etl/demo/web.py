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
from etl.demo.records import DAY_MS, EPOCH, Truth, compact_day, ms_of, new_uuid
from etl.demo.traffic import Visit

SHOP_HOST = "www.nordlicht.example"
MAGAZINE_HOST = "magazin.nordlicht.example"
ARTICLES = tuple(f"/magazin/{word}" for word in (
    "polarlichter-sehen", "zelten-im-winter", "hygge-zuhause", "wandern-mit-kindern", "feuer-machen",
    "wolle-pflegen", "rezepte-eintopf", "packliste-huettentour", "sauna-regeln", "garten-im-januar"))  # fmt: skip
_TWICE = 0.01

SNOWPLOW_COLUMNS = tuple(
    ["app_id", "platform", "etl_tstamp", "collector_tstamp", "dvce_created_tstamp", "event", "event_id", "txn_id", "name_tracker", "v_tracker", "v_collector", "v_etl", "user_id", "user_ipaddress", "user_fingerprint", "domain_userid", "domain_sessionidx", "network_userid", "geo_country", "geo_region", "geo_city", "geo_zipcode", "geo_latitude", "geo_longitude", "geo_region_name", "ip_isp", "ip_organization", "ip_domain", "ip_netspeed", "page_url", "page_title", "page_referrer", "page_urlscheme", "page_urlhost", "page_urlport", "page_urlpath", "page_urlquery", "page_urlfragment", "refr_urlscheme", "refr_urlhost", "refr_urlport", "refr_urlpath", "refr_urlquery", "refr_urlfragment", "refr_medium", "refr_source", "refr_term", "mkt_medium", "mkt_source", "mkt_term", "mkt_content", "mkt_campaign", "se_category", "se_action", "se_label", "se_property", "se_value", "tr_orderid", "tr_affiliation", "tr_total", "tr_tax", "tr_shipping", "tr_city", "tr_state", "tr_country", "ti_orderid", "ti_sku", "ti_name", "ti_category", "ti_price", "ti_quantity", "pp_xoffset_min", "pp_xoffset_max", "pp_yoffset_min", "pp_yoffset_max", "useragent", "br_name", "br_family", "br_version", "br_type", "br_renderengine", "br_lang", "br_features_pdf", "br_features_flash", "br_features_java", "br_features_director", "br_features_quicktime", "br_features_realplayer", "br_features_windowsmedia", "br_features_gears", "br_features_silverlight", "br_cookies", "br_colordepth", "br_viewwidth", "br_viewheight", "os_name", "os_family", "os_manufacturer", "os_timezone", "dvce_type", "dvce_ismobile", "dvce_screenwidth", "dvce_screenheight", "doc_charset", "doc_width", "doc_height", "tr_currency", "tr_total_base", "tr_tax_base", "tr_shipping_base", "ti_currency", "ti_price_base", "base_currency", "geo_timezone", "mkt_clickid", "mkt_network", "etl_tags", "dvce_sent_tstamp", "refr_domain_userid", "refr_device_tstamp", "domain_sessionid", "derived_tstamp", "event_vendor", "event_name", "event_format", "event_version", "event_fingerprint", "true_tstamp", "load_tstamp", "contexts_com_snowplowanalytics_snowplow_web_page_1_0_0", "contexts_com_nordlicht_identity_1_0_0"]
)


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
    header = ",".join(SNOWPLOW_COLUMNS)
    rows: dict[str, list[str]] = {f"events_{compact_day(at)}.csv": [] for at in _midnights(company)}
    end = ms_of(company.end)
    for visit in company.visits:
        if visit.site == "magazine":
            for at, line in _snowplow_visit(rng, visit, end):
                name = f"events_{compact_day(at)}.csv"
                rows[name].append(line)
                if rng.random() < _TWICE:
                    rows[name].append(line)
    names = sorted(rows)
    for place, kind in enumerate(("missing_event_id",) * 3 + ("far_future_timestamp",) * 2):
        lines = rows[names[min(1 + place, len(names) - 1)]]
        if lines:
            cells = lines[place % len(lines)].split(",")
            if kind == "missing_event_id":
                cells[SNOWPLOW_COLUMNS.index("event_id")] = ""
            else:
                cells[SNOWPLOW_COLUMNS.index("event_id")] = new_uuid(rng)
                for column in ("derived_tstamp", "dvce_created_tstamp", "dvce_sent_tstamp"):
                    cells[SNOWPLOW_COLUMNS.index(column)] = "2099-12-31 00:00:00.000"
            lines.append(",".join(cells))
            truth.spoil("snowplow", "events", kind, cells[SNOWPLOW_COLUMNS.index("event_id")])
    return {name: [header, *lines] for name, lines in rows.items()}


def _midnights(company: Company) -> range:
    return range(ms_of(company.start), ms_of(company.end), DAY_MS)


def _param(key: str, value: str, kind: str = "string_value") -> str:
    return f'{{"key":"{key}","value":{{"{kind}":"{value}"}}}}'


def _ga4_visit(rng: Random, visit: Visit, products: tuple[Product, ...], end: int) -> list[tuple[int, str]]:
    """(time in ms, JSON line) of every event of one visit."""
    browser, person = visit.browser, visit.person
    category, system, name, _ = BROWSERS[browser.make]
    session = str(visit.at // 1000)
    query = (
        f"?utm_source={visit.source}&utm_medium={visit.medium}&utm_campaign={visit.campaign}"
        if visit.medium in ("email", "paid_social", "cpc")
        else ""
    )
    goods = [line.product for line in visit.order.lines] if visit.order else [rng.choice(products)]
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

    land = person.land if person else None
    place = f'{{"continent":"{land.continent}","country":"{land.title}","city":"{person.city if person else ""}"}}' if land else \
        '{"continent":"Europe","country":"Germany","city":"(not set)"}'  # fmt: skip
    tail = (
        f'"device":{{"category":"{category}","operating_system":"{system}","language":"de-de",'
        f'"web_info":{{"browser":"{name}","hostname":"{SHOP_HOST}"}}}},"geo":{place},'
        f'"traffic_source":{{"name":"{visit.campaign or "(direct)"}","medium":"{visit.medium}","source":"{visit.source}"}},'
        f'"collected_traffic_source":{{"manual_campaign_name":{_quoted(visit.campaign)},"manual_source":'
        f'{_quoted(visit.source if query else "")},"manual_medium":{_quoted(visit.medium if query else "")}}},'
        f'"stream_id":"4711000001","platform":"WEB","is_active_user":true'
    )
    user = f'"user_id":"{person.login}",' if person and visit.is_known and person.login else ""
    hashed = ""
    if person and visit.says_email:
        address = visit.order.email if visit.order else person.email
        hashed = f'{{"key":"email_sha256","value":{{"string_value":"{email_hash(address)}"}}}}'
    events: list[tuple[int, str]] = []
    at = visit.at
    offset = int(rng.random() * 900_000)
    login_seen = email_seen = False
    previous = ""
    for ordinal, (event, path, product) in enumerate(steps):
        at += (
            0
            if event in ("page_view", "session_start", "view_item") and ordinal < 2
            else 1000 + int(rng.random() * 45_000)
        )
        if event == "purchase" and visit.order:
            at = max(visit.order.at, at)
        if at >= end:
            break
        login_seen = login_seen or event == "login" or (visit.is_known and ordinal > 3)
        email_seen = email_seen or (visit.medium == "email" or event == "purchase")
        page = f"https://{SHOP_HOST}{path}{query if ordinal < 3 else ''}"
        params = [
            _param("ga_session_id", session, "int_value"),
            _param("ga_session_number", str(visit.number), "int_value"),
            _param("page_location", page),
            _param("page_referrer", visit.referrer if ordinal < 3 else previous),
            _param("engagement_time_msec", str(100 + int(rng.random() * 30_000)), "int_value"),
        ]
        more = ""
        if event == "purchase" and visit.order:
            params.append(_param("transaction_id", str(visit.order.id)))
            items = ",".join(
                f'{{"item_id":"{line.product.id}","item_name":"{line.product.title}",'
                f'"item_category":"{line.product.category}","quantity":"{line.pieces}"}}'
                for line in visit.order.lines
            )
            more = (
                f',"ecommerce":{{"transaction_id":"{visit.order.id}","purchase_revenue":{visit.order.own_gross / 100:.2f},'
                f'"total_item_quantity":"{sum(line.pieces for line in visit.order.lines)}"}},"items":[{items}]'
            )
        elif product is not None and event != "page_view":
            more = (
                f',"items":[{{"item_id":"{product.id}","item_name":"{product.title}",'
                f'"item_category":"{product.category}","price":{product.cents / 100:.2f},"quantity":"1"}}]'
            )
        previous = page
        micros = at * 1000 + ordinal
        events.append((
            at,
            f'{{"event_date":"{compact_day(at)}","event_timestamp":"{micros}","event_name":"{event}",'
            f'"event_params":[{",".join(params)}],"event_bundle_sequence_id":"{visit.at % 1_000_000_007}",'
            f'"event_server_timestamp_offset":"{offset}",{user if login_seen else ""}'
            f'"user_pseudo_id":"{browser.ga}","user_properties":[{hashed if email_seen else ""}],'
            f'"user_first_touch_timestamp":"{browser.first_at * 1000}","batch_ordering_id":"{ordinal + 1}",{tail}{more}}}',
        ))  # fmt: skip
    return events


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
    day, ms = divmod(moment, DAY_MS)
    return f"{_day(day)} {ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}"


_DAYS: dict[int, str] = {}


def _day(number: int) -> str:
    """The ISO date of a day since 1970; remembered, since the same few come a hundred thousand times."""
    if number not in _DAYS:
        from datetime import timedelta

        _DAYS[number] = (EPOCH + timedelta(days=number)).date().isoformat()
    return _DAYS[number]


def _snowplow_visit(rng: Random, visit: Visit, end: int) -> list[tuple[int, str]]:
    """(collector time in ms, CSV line) of every event of one visit to the magazine."""
    browser, person = visit.browser, visit.person
    is_robot = browser.make < 0
    agent = BOTS[-1 - browser.make] if is_robot else BROWSERS[browser.make][3]
    session = new_uuid(rng)
    language = {"de": "de-DE", "en": "en-GB", "pl": "pl-PL"}[person.land.language if person else "de"]
    kind, system, family = ("desktop", "", "Robot") if is_robot else BROWSERS[browser.make][:3]
    login = person.login if person and visit.is_known else ""
    context = ""
    if (person and visit.is_known and not person.login) or (person and person.number % 9 == 0):
        context = f'"[{{""email_sha256"":""{email_hash(person.email)}""}}]"'
    tags = (visit.medium, visit.source, visit.campaign) if visit.medium in ("paid_social", "cpc") else ("", "", "")
    query = f"utm_source={tags[1]}&utm_medium={tags[0]}&utm_campaign={tags[2]}" if tags[0] else ""
    referrer_host = visit.referrer.split("/")[2] if visit.referrer else ""
    delay = int((0.3 + 1.7 * rng.random()) * DAY_MS) if rng.random() < 0.012 else int(rng.random() * 3000) + 40
    at = visit.at
    pages = 1 + int(rng.random() * (8 if is_robot else 4))
    events: list[tuple[int, str]] = []
    for ordinal in range(pages):
        path = ARTICLES[int(rng.random() ** 1.5 * len(ARTICLES))]
        view = new_uuid(rng)
        for event in ("page_view",) + ("page_ping",) * (0 if is_robot else int(rng.random() * 3)):
            collected = at + delay
            if collected >= end:
                break
            first = ordinal == 0
            created = at + browser.skew
            stamp, made, sent = _stamp(collected), _stamp(created), _stamp(created + 20)
            url_query = query if first else ""
            url = f"https://{MAGAZINE_HOST}{path}{'?' + url_query if url_query else ''}"
            referrer = visit.referrer if first else f"https://{MAGAZINE_HOST}/"
            title = path.rsplit("/", 1)[1].replace("-", " ").title()
            events.append((
                collected,
                f"magazine,web,{_stamp(collected + 900)},{stamp},{made},{event},{new_uuid(rng)},,sp1,js-4.6.0,"
                f"ssc-3.1.2-kafka,stream-enrich-5.1.0,{login},203.0.113.0,,{browser.sp},{visit.number},,"
                f"{person.land.code if person else 'DE'},,,,,,,,,,,"
                f"{url},{title},{referrer},https,{MAGAZINE_HOST},443,{path},{url_query},,"
                f"{'https' if referrer else ''},{referrer_host if first else MAGAZINE_HOST},{'443' if referrer else ''},,,,"
                f",,,{tags[0] if first else ''},{tags[1] if first else ''},,,{tags[2] if first else ''},"
                f",,,,,,,,,,,,,,,,,,,,,,,"
                f'"{agent}",{family},{family},,{"Robot" if is_robot else "Browser"},,{language},'
                f",,,,,,,,,1,24,1200,900,{system},{system},,Europe/Berlin,{kind},{0 if kind == 'desktop' else 1},1920,1080,"
                f"UTF-8,1200,4000,,,,,,,,Europe/Berlin,,,,"
                f"{sent},,,{session},{_stamp(at if delay < 3100 else created)},com.snowplowanalytics.snowplow,{event},jsonschema,1-0-0,,,"
                f'{_stamp(collected + 2000)},"[{{""id"":""{view}""}}]",{context}',
            ))  # fmt: skip
            at += 10_000
        at += 5000 + int(rng.random() * 90_000)
    return events
