"""Every way of asking for the next page: each record once, or an error, and never silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl.connect.body import records_in
from etl.connect.paging import EMPTY_PAGES, STRATEGIES, Request, Walk, next_request
from etl.errors import DeclarationError, SourceError
from etl.model import Paging

URL = "https://api.example/things"
PAGINGS = {
    "cursor": Paging(style="cursor", next_at="next", param="after"),
    "link": Paging(style="link"),
    "next_url": Paging(style="next_url", next_at="next"),
    "keyset": Paging(style="keyset", next_at="next", param="after", key="id", cap=6, size=2),
    "offset": Paging(style="offset", param="offset", size=3),
    "page": Paging(style="page", param="page", size=3),
    "starting_after": Paging(style="starting_after", param="starting_after", key="id", more_at="has_more"),
    "token_header": Paging(style="token_header", param="locator", header="Sforce-Locator", end="null"),
}
WITH_TOTAL = {style: replace(paging, total_at="total") for style, paging in PAGINGS.items()}
Answer = tuple[dict[str, Any], dict[str, str]]
COUNT = (Paging(style="offset", param="o", size=2), Paging(style="page", param="p", size=2))


@dataclass
class Shelf:
    """A server that lays out pages of ids, as each strategy has it; `asked` are its answers' numbers."""

    pages: list[list[int]]
    style: str
    total: int | None = None
    asked: list[int] = field(default_factory=list)

    def number(self, request: Request) -> int:
        """The page a request is for."""
        params = dict(request.params or parse_qsl(urlsplit(request.url).query))
        match self.style:
            case "offset":
                at, number = int(params.get("offset", 0)), 0
                while at > 0 and number < len(self.pages):
                    at, number = at - len(self.pages[number]), number + 1
                return number
            case "page":
                return int(params.get("page", 1)) - 1
            case "starting_after":
                last = int(params.get("starting_after", -1))
                return next((n + 1 for n, page in enumerate(self.pages) if last in page), 0)
            case "keyset":
                return int(params.get("after", 0)) + int(params["above"])
            case _:
                return int(params.get({"cursor": "after", "token_header": "locator"}.get(self.style, "n"), 0))

    def answer(self, request: Request) -> Answer:
        number = self.number(request)
        return self.laid_out(number, number + 1 if number + 1 < len(self.pages) else None)

    def laid_out(self, number: int, following: int | None) -> Answer:
        """Page `number`, which names page `following` as the next."""
        self.asked.append(number)
        page = self.pages[number] if number < len(self.pages) else []
        body: dict[str, Any] = {"data": [{"id": one} for one in page], "has_more": following is not None}
        headers = {}
        if self.total is not None:
            body["total"] = self.total
        if self.style == "token_header":
            headers["sforce-locator"] = "null" if following is None else str(following)
        elif self.style == "link" and following is not None:
            headers["link"] = f'<{URL}?n={following}>; rel="next"'
        elif following is not None:
            body["next"] = f"/things?n={following}" if self.style == "next_url" else str(following)
        return body, headers


def walked(paging: Paging, answer: Callable[[Request], Answer], *, most: int = 400) -> list[int]:
    """The ids a walk brings; fails when it does not end."""
    walk = Walk(restart=lambda above: Request("GET", URL, {"above": above}), where="shop.things")
    request: Request | None = walk.restart(walk.above)
    came: list[int] = []
    for _ in range(most):
        if request is None:
            return came
        told, headers = answer(request)
        body = json.dumps(told).encode()
        records = records_in(body, "data") or []
        came += [json.loads(record).get("id") for record in records]
        request = next_request(paging, request, body, headers, records, walk)
    raise AssertionError("the walk does not end")


def numbered(sizes: list[int]) -> list[list[int]]:
    """Pages of these sizes, ids from 1 on."""
    ends = [sum(sizes[:n]) for n in range(len(sizes) + 1)]
    return [list(range(first + 1, last + 1)) for first, last in pairwise(ends)]


STYLES = [style for style in PAGINGS if style != "keyset"]


# --- honest servers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@given(sizes=st.lists(st.integers(0, 3), max_size=12))
@example(sizes=[1, 3, 2])
@example(sizes=[2, 0, 0, 2])
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_record_comes_once_and_in_order_however_the_pages_are_cut(style: str, sizes: list[int]) -> None:
    if style in {"offset", "page", "starting_after"}:
        # An empty page is the end here: there is nothing that could name another.
        sizes = [size for size in sizes if size]
    pages = numbered(sizes)

    assert [one for page in pages for one in page] == walked(PAGINGS[style], Shelf(pages, style).answer)
    assert [one for page in pages for one in page] == walked(WITH_TOTAL[style], Shelf(pages, style, sum(sizes)).answer)


@given(hits=st.integers(0, 60), cap=st.integers(2, 12), size=st.integers(1, 4), total=st.booleans())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_a_search_with_a_cap_brings_every_record_once(hits: int, cap: int, size: int, total: bool) -> None:
    paging = replace(PAGINGS["keyset"], cap=max(cap, size), size=size, total_at="total" if total else "")

    def search(request: Request) -> Answer:
        params = dict(request.params or {})
        at, found = int(params.get("after", 0)), list(range(int(params["above"]) + 1, hits + 1))
        assert at + size <= paging.cap
        more = {"next": str(at + size)} if at + size < len(found) else {}
        return {"data": [{"id": str(one)} for one in found[at : at + size]], "total": len(found), **more}, {}

    assert [str(one) for one in range(1, hits + 1)] == walked(paging, search)  # type: ignore[comparison-overlap]


def test_a_search_that_is_not_in_the_order_of_its_key_is_an_error() -> None:
    """9 after 10 by its letters: going on above 9 would lose 10 and more."""
    answers = iter([["1", "3"], ["10", "7"], ["8", "9"]])

    with pytest.raises(SourceError, match="not in the order of 'id'"):
        walked(
            replace(PAGINGS["keyset"], cap=4),
            lambda _: ({"data": [{"id": one} for one in next(answers)], "next": "2"}, {}),
        )


@pytest.mark.parametrize("style", ["offset", "page"])
def test_a_total_or_a_promise_saves_the_question_for_an_empty_page(style: str) -> None:
    pages = numbered([3, 3, 1])
    plain, promised, told = Shelf(pages, style), Shelf(pages, style), Shelf(pages, style, 7)
    walked(PAGINGS[style], plain.answer)
    walked(replace(PAGINGS[style], is_short_last=True), promised.answer)
    walked(WITH_TOTAL[style], told.answer)

    assert [[0, 1, 2, 3], [0, 1, 2], [0, 1, 2]] == [plain.asked, promised.asked, told.asked]


@pytest.mark.parametrize("style", ["offset", "page"])
def test_a_server_that_cuts_pages_shorter_than_asked_loses_nothing(style: str) -> None:
    paging = replace(PAGINGS[style], size=500)

    assert list(range(1, 11)) == walked(paging, Shelf(numbered([4, 4, 2]), style).answer)


def test_numbers_in_a_body_stay_numbers() -> None:
    asked: list[Any] = []

    def answer(request: Request) -> Answer:
        asked.append((request.json or {}).get("page"))
        return {"data": [{"id": len(asked)}] if len(asked) < 3 else []}, {}

    paging = Paging(style="page", param="page", size=1)
    walk = Walk(restart=lambda _: Request("POST", URL, json={"page": 1}), where="shop.things")
    request: Request | None = walk.restart("")
    while request is not None:
        told, headers = answer(request)
        body = json.dumps(told).encode()
        request = next_request(paging, request, body, headers, records_in(body, "data") or [], walk)

    assert [1, 2, 3] == asked


# --- servers that err -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", STYLES)
@given(
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=6),
    play=st.lists(st.tuples(st.integers(0, 6), st.none() | st.integers(0, 6)), min_size=1, max_size=12),
)
@example(sizes=[2, 2, 2], play=[(0, 1), (2, None)])
@example(sizes=[2, 2], play=[(0, 1), (0, 1), (1, None)])
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_answers_to_any_questions_bring_every_record_or_an_error(
    style: str, sizes: list[int], play: list[tuple[int, int | None]]
) -> None:
    """The server gives whatever page it likes, naming whatever page it likes as the next, the last for ever."""
    shelf = Shelf(numbered(sizes), style, sum(sizes))
    left = list(play)
    try:
        came = walked(WITH_TOTAL[style], lambda _: shelf.laid_out(*(left.pop(0) if len(left) > 1 else left[0])))
    except SourceError:
        return

    assert set(range(1, sum(sizes) + 1)) == set(came)
    assert len(came) == len(set(came))


@pytest.mark.parametrize("style", [*STYLES, "keyset"])
def test_a_walk_in_a_circle_is_an_error(style: str) -> None:
    shelf = Shelf(numbered([3, 3]), style)
    turns = iter(range(1000))

    with pytest.raises(SourceError, match="came twice"):
        walked(PAGINGS[style], lambda _: shelf.laid_out(next(turns) % 2, 1))


@pytest.mark.parametrize("paging", COUNT, ids=["offset", "page"])
def test_a_server_that_does_not_heed_the_number_is_an_error(paging: Paging) -> None:
    with pytest.raises(SourceError, match="the same page came twice"):
        walked(paging, lambda _: ({"data": [{"id": 1}, {"id": 2}]}, {}))


@pytest.mark.parametrize("style", STYLES)
def test_a_page_that_is_missing_is_seen_by_the_total(style: str) -> None:
    shelf = Shelf(numbered([3, 3, 3]), style, 9)
    answers = iter([shelf.laid_out(0, 1), shelf.laid_out(2, None), shelf.laid_out(9, None)])

    with pytest.raises(SourceError, match=r"shop\.things: 9 records were promised and 6 different ones came"):
        walked(WITH_TOTAL[style], lambda _: next(answers))


@pytest.mark.parametrize("paging", COUNT, ids=["offset", "page"])
def test_a_record_deleted_while_pages_are_read_moves_another_out_of_sight_and_the_total_tells(paging: Paging) -> None:
    live = [1, 2, 3, 4, 5, 6]

    def answer(request: Request) -> Answer:
        params = dict(request.params or {})
        at = int(params.get("o", 0)) or (int(params.get("p", 1)) - 1) * 2
        told = {"data": [{"id": one} for one in live[at : at + 2]], "total": len(live)}
        if at == 2:
            live.remove(1)
        return told, {}

    with pytest.raises(SourceError, match="the total shrank from 6 to 5"):
        walked(replace(paging, total_at="total"), answer)


@pytest.mark.parametrize("total", [None, "many", True, 1.5])
def test_a_total_that_is_declared_and_not_told_is_an_error(total: object) -> None:
    paging = WITH_TOTAL["cursor"]

    with pytest.raises(SourceError, match="no total at 'total'"):
        walked(paging, lambda _: ({"data": [{"id": 1}], "total": total}, {}))


def test_empty_pages_without_end_are_an_error() -> None:
    turns = iter(range(1000))

    with pytest.raises(SourceError, match=f"{EMPTY_PAGES + 1} empty pages"):
        walked(PAGINGS["cursor"], lambda _: ({"data": [], "next": f"t{next(turns)}"}, {}))


@pytest.mark.parametrize(
    ("style", "body", "says"),
    [
        ("starting_after", {"data": [{"id": 1}]}, "'has_more' is none"),
        ("starting_after", {"data": [], "has_more": True}, "'has_more' is true"),
        ("starting_after", {"data": [{"name": 1}], "has_more": True}, "'id' is None"),
        ("token_header", {"data": [{"id": 1}]}, "lacks the header Sforce-Locator"),
        ("cursor", {"data": [{"id": 1}], "next": {"after": 2}}, "no token at 'next', but a dict"),
    ],
)
def test_an_answer_that_does_not_say_if_there_is_more_is_an_error(style: str, body: dict[str, Any], says: str) -> None:
    with pytest.raises(SourceError, match=says):
        walked(PAGINGS[style], lambda _: (body, {}))


def test_a_token_header_without_a_word_for_the_end_ends_when_it_is_missing() -> None:
    answers = iter([({"data": [{"id": 1}]}, {"x-next": "b"}), ({"data": [{"id": 2}]}, {})])

    assert [1, 2] == walked(Paging(style="token_header", param="page", header="X-Next"), lambda _: next(answers))


@pytest.mark.parametrize("style", STRATEGIES)
def test_a_strategy_that_lacks_what_it_needs_is_refused_where_it_is_declared(style: str) -> None:
    needs = Paging.NEEDS[style]

    assert set(Paging.NEEDS) == set(STRATEGIES)
    for name in needs:
        with pytest.raises(DeclarationError, match=name):
            replace(PAGINGS[style], **{name: 0 if name in {"cap", "size"} else ""})
