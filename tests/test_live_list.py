"""Lists of channels: filters, orders and pages of contract section 2."""

from collections.abc import Callable

import pytest

from tests.envelope import wrong
from tests.invariants import miscounted
from tests.story import after, arrival, new

BASES = ("/v1/live", "/livestream/live")


@pytest.fixture
def names(client) -> Callable[..., list[str]]:
    """The names in a list, which is the same at both paths."""

    def read(**query) -> list[str]:
        query = {name.rstrip("_"): value for name, value in query.items()}
        replies = [client.get(base, query_string=query) for base in BASES]
        assert replies[0].status_code == 200, replies[0].text
        body, published = (reply.json for reply in replies)
        for item in body["data"] + published["data"]:
            item.pop("duration")  # of a running channel it goes on between the two requests
        assert body == published
        assert body["length"] == len(body["data"])
        return [item["name"] for item in body["data"]]

    return read


@pytest.fixture
def make(lifecycle, now) -> Callable:
    """Makes a channel, some seconds after the first."""

    def made(name: str, seconds: float = 0, **fields):
        return new(lifecycle, now + after(seconds=seconds), name=name, **fields)

    return made


def iso(moment) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


# Order and pages.


def test_no_channels_are_an_empty_list(client):
    assert client.get("/v1/live").json == {"ec": 0, "data": [], "total": 0, "length": 0, "page": 0}


def test_the_newest_comes_first_unless_asked_otherwise(make, names):
    for number in range(3):
        make(str(number), number)
    assert names() == names(order="desc") == ["2", "1", "0"]
    assert names(order="asc") == ["0", "1", "2"]


def test_ties_go_by_creation(make, names):
    for number in range(5):
        make(str(number))
    assert names() == ["4", "3", "2", "1", "0"]
    assert names(order="asc") == ["0", "1", "2", "3", "4"]


def test_what_has_started_goes_by_its_start(lifecycle, make, names, now):
    early, late = make("early"), make("late", 10)
    session = lifecycle.publish(early.stream_token, arrival(1), now + after(seconds=20))
    assert names() == ["late", "early"], "a publish alone is no start"
    lifecycle.playable(session.id, now + after(seconds=30))
    assert names() == ["early", "late"]
    lifecycle.unpublish(arrival(1).connection, "left", now + after(seconds=40))
    again = lifecycle.publish(early.stream_token, arrival(2), now + after(seconds=50))
    lifecycle.playable(again.id, now + after(seconds=60))
    make("between", 45)
    assert names() == ["between", "early", "late"], "the first time live"
    assert late.start_time is None


def test_a_page_is_a_part_and_the_total_is_all(client, make, names):
    for number in range(23):
        make(str(number), number)
    body = client.get("/v1/live").json
    assert (body["total"], body["length"], body["page"]) == (23, 10, 0)
    body = client.get("/v1/live?page=2").json
    assert (body["total"], body["length"], body["page"]) == (23, 3, 2)
    assert [item["name"] for item in body["data"]] == ["2", "1", "0"]
    assert client.get("/v1/live?page=3").json == {"ec": 0, "data": [], "total": 23, "length": 0, "page": 3}
    pages = [name for page in range(4) for name in names(page=page, length=7, order="asc")]
    assert pages == [str(number) for number in range(23)]
    assert len(names(length=100)) == 23


def test_an_item_is_the_channel_object(client, make):
    channel = make("x")
    assert client.get("/v1/live").json["data"] == [client.get(f"/v1/live/{channel.id}").json["data"]]


def test_publishing_is_told_of_each_item(client, lifecycle, make, now):
    one, _ = make("one"), make("two")
    lifecycle.publish(one.stream_token, arrival(1), now)
    assert {item["name"]: item["publishing"] for item in client.get("/v1/live").json["data"]} == {
        "one": True,
        "two": False,
    }


# Filters.


def test_by_status_one_or_several(lifecycle, make, names, now):
    make("init")
    make("coming", startAt="2099-01-01T00:00:00Z")
    lifecycle.stop(make("ended").id, now)
    live = lifecycle.publish(make("live").stream_token, arrival(1), now)
    lifecycle.playable(live.id, now)
    error = lifecycle.publish(make("error").stream_token, arrival(2), now)
    lifecycle.unplayable(error.id, "no video", now)
    for status in ("init", "coming", "ended", "live", "error"):
        assert names(status=status) == [status]
    assert names(status="live, init", order="asc") == ["init", "live"]
    assert names(status="init,live,init", order="asc") == ["init", "live"]
    assert len(names(status="coming,init,live,ended,error")) == 5


def test_by_account(make, names):
    make("a", accountId="1")
    make("b", accountId="2")
    assert names(accountId="1") == ["a"]
    assert names(accountId="3") == []


def test_a_query_finds_without_case_and_accents(make, names):
    make("Đêm nhạc số 1")
    make("other")
    decomposed = "đe\u0302m nha\u0323c"
    for query in ("đêm nhạc", "DEM NHAC", "dem", "ĐÊM", "nhac so", "số", "SO 1", "m n", decomposed):
        assert names(query=query) == ["Đêm nhạc số 1"], query


LANGUAGES = [
    *(
        ("STRASSE", "straße"),
        ("Straße", "STRASSE"),
        ("\uff26\uff55\uff4c\uff4c", "full"),
        ("ﬁne", "fine"),
        ("İstanbul", "istanbul"),
    ),
    *(("Ångström", "angstrom"), ("naïve café", "NAIVE CAFE"), ("日本語", "本"), ("ΑΘΗΝΆ", "αθηνα")),
]


def test_a_query_finds_in_other_languages(make, names):
    for name, _ in LANGUAGES:
        make(name)
    for name, query in LANGUAGES:
        found = names(query=query, length=100)
        assert name in found, query
        assert len(found) < 3


WILDCARDS = [
    *(("%", ["100%"]), ("_", ["a_b"]), ("\\", ["a\\b"]), ("0%", ["100%"]), ("a_", ["a_b"]), ("a%b", [])),
    *(("\\b", ["a\\b"]), ("'", ["it's"]), ('"', ['"q"']), ("*", ["a*b"]), ("[a", ["[ab]"]), ("a?", [])),
]


def test_wildcards_in_a_query_are_letters_like_others(make, names):
    for name in ("100%", "a_b", "a\\b", "axb", "it's", '"q"', "a*b", "[ab]"):
        make(name)
    for query, found in WILDCARDS:
        assert names(query=query) == found, query


def test_an_empty_query_finds_all(make, names):
    make("a")
    assert names(query="") == ["a"]


def test_a_changed_name_is_found_and_the_old_one_not(lifecycle, make, names, now):
    channel = make("Vịt")
    lifecycle.update(channel.id, {"name": "Gà"}, now)
    assert (names(query="ga"), names(query="vit")) == (["Gà"], [])


def test_by_any_of_some_tags(lifecycle, make, names, now):
    make("ab", tags="a,b")
    make("bc", 1, tags="b,c")
    make("none", 2)
    assert names(tags="a") == ["ab"]
    assert names(tags="b") == ["bc", "ab"]
    assert names(tags=" a , c ") == ["bc", "ab"], "each once, though both match"
    assert names(tags="A,%") == []
    channel = make("later", 3, tags="a")
    lifecycle.update(channel.id, {"tags": ["c"]}, now)
    assert (names(tags="a"), names(tags="c")) == (["ab"], ["later", "bc"])


def test_from_is_inclusive_and_to_is_not(make, names, now):
    for number in range(4):
        make(str(number), number)
    first, second = (iso(now + after(seconds=number)) for number in (1, 3))
    assert names(from_=first, to=second) == ["2", "1"]
    assert names(from_=first) == ["3", "2", "1"]
    assert names(to=second) == ["2", "1", "0"]
    assert names(from_=first, to=first) == []
    assert names(from_=iso(now + after(seconds=1, milliseconds=1)), to=second) == ["2"]


def test_from_and_to_are_about_the_start_of_what_has_started(lifecycle, make, names, now):
    channel = make("x")
    session = lifecycle.publish(channel.stream_token, arrival(1), now)
    lifecycle.playable(session.id, now + after(seconds=100))
    assert names(from_=iso(now + after(seconds=100))) == ["x"]
    assert names(to=iso(now + after(seconds=100))) == []


def test_now_is_a_time(client, make, names):
    client.post("/v1/live", json={"name": "just now"})
    make("in the future", 10**9)
    assert names(to="now") == ["just now"]
    assert names(from_="now") == ["in the future"]


def test_from_after_to_is_422(client):
    for query in ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from=now&to=2026-01-01T00:00:00Z"):
        assert wrong(client.get(f"/v1/live?{query}")) == {"from"}


def test_filters_add_up(make, names):
    make("Kênh a", tags="x", accountId="1")
    make("Kênh b", 1, tags="x", accountId="2")
    make("other", 2, tags="x", accountId="2")
    assert names(query="kenh", tags="x,y", accountId="2", status="init,live") == ["Kênh b"]


WRONG = [
    *(
        "order=up",
        "order=",
        "status=on",
        "status=live,on",
        "accountId=",
        "accountId=a b",
        "from=yesterday",
        "to=1",
    ),
    *("from=", "query=" + "x" * 256, "tags=" + "x" * 51, "tags=" + ",".join(map(str, range(21)))),
]


def test_a_wrong_filter_is_422_by_its_name(client):
    for query in WRONG:
        assert wrong(client.get(f"/v1/live?{query}")) == {query.partition("=")[0]}


def test_deleted_channels_are_in_no_list(client, make, names):
    make("stays")
    client.delete(f"/v1/live/{make('goes', tags='a').id}?delete=true")
    assert (names(), names(tags="a"), names(query="goes")) == (["stays"], [], [])


def test_totals_stay_right_whatever_happens_to_a_channel(client, lifecycle, make, now):
    def totals() -> list[int]:
        asked = (
            "",
            "?status=init",
            "?status=live,ended",
            "?accountId=1",
            "?accountId=1&status=ended",
            "?tags=a",
        )
        asked += ("?tags=b&status=ended", "?tags=a&accountId=1&status=init", "?tags=a,b")
        bodies = [client.get(f"/v1/live{query}").json for query in asked]
        assert all(body["total"] == len(body["data"]) for body in bodies)
        assert miscounted() == set()
        return [body["total"] for body in bodies]

    one, two = make("one", tags="a,b"), make("two", 1, tags="a", accountId="2")
    assert totals() == [2, 2, 0, 1, 0, 2, 0, 1, 2]
    session = lifecycle.publish(one.stream_token, arrival(1), now)
    lifecycle.playable(session.id, now + after(seconds=9))
    assert totals() == [2, 1, 1, 1, 0, 2, 0, 0, 2]
    lifecycle.stop(one.id, now + after(seconds=10))
    assert totals() == [2, 1, 1, 1, 1, 2, 1, 0, 2]
    lifecycle.update(one.id, {"tags": ["c"]}, now + after(seconds=11))
    assert totals() == [2, 1, 1, 1, 1, 1, 0, 0, 1]
    lifecycle.delete(two.id, now + after(seconds=12))
    assert totals() == [1, 0, 1, 1, 1, 0, 0, 0, 0]


def test_a_tagged_list_goes_by_the_start_of_what_has_started(lifecycle, make, names, now):
    early, _ = make("early", tags="a"), make("late", 10, tags="a,b")
    assert names(tags="a") == names(tags="a,b") == ["late", "early"]
    session = lifecycle.publish(early.stream_token, arrival(1), now + after(seconds=20))
    lifecycle.playable(session.id, now + after(seconds=30))
    assert names(tags="a") == names(tags="a,b") == ["early", "late"]


def test_a_filter_on_nothing_but_commas_is_none(make, names):
    make("a")
    assert names(status=",", tags=" ,") == ["a"]
