"""Search over channels and videos: contract section 5."""

from collections.abc import Callable
from html import escape

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auth import digest
from db import database, run, utcnow
from live import fulltext
from live.text import folded, marked, words
from live.videos import keep
from models_access import Token
from tests.envelope import refused, wrong
from tests.story import after, arrival, new


@pytest.fixture
def make(lifecycle, now) -> Callable:
    """Makes a channel, some seconds after the first."""

    def made(name: str, seconds: float = 0, **fields):
        return new(lifecycle, now + after(seconds=seconds), name=name, **fields)

    return made


@pytest.fixture
def video(make, lifecycle, now) -> Callable:
    """Makes a video, some seconds after its channel, which has the same name."""

    def made(name: str, seconds: float = 0, duration: int = 60, **fields):
        channel = make(name, **fields)
        facts = {"duration": duration, "size": 1, "session_id": "ses_1"}
        return keep(channel.id, "record", "x.mp4", lifecycle.links, now + after(seconds=seconds), **facts)

    return made


@pytest.fixture
def items(client) -> Callable[..., list[dict]]:
    def read(query: str | None = None, **asked) -> list[dict]:
        asked = {name.rstrip("_"): value for name, value in asked.items()}
        reply = client.get("/v1/search", query_string=asked if query is None else asked | {"query": query})
        assert reply.status_code == 200, reply.text
        assert reply.json["length"] == len(reply.json["data"])
        assert reply.json["total"] >= reply.json["length"]
        return reply.json["data"]

    return read


@pytest.fixture
def names(items) -> Callable[..., list[str]]:
    return lambda query=None, **asked: [item["name"] for item in items(query, **asked)]


# Words.


def test_all_words_are_needed_in_any_order_and_field(make, names):
    make("Đêm nhạc", description="ở Huế", tags="rock")
    make("Đêm thơ", 1)
    for query in ("đêm nhạc", "NHAC dem", "dem hue", "rock, huế", "nhạc! (đêm)"):
        assert names(query) == ["Đêm nhạc"], query
    assert names("đêm") == names("dem") == ["Đêm thơ", "Đêm nhạc"]
    assert names("đêm mưa") == []


def test_the_last_word_may_be_a_beginning_and_the_others_not(make, names):
    make("Morning concert")
    for query in ("m", "morn", "morning con", "concert m"):
        assert names(query) == ["Morning concert"], query
    assert names("morn concert") == []
    assert names("orning") == []


def test_vietnamese_is_found_with_and_without_its_marks(make, names):
    make("Đường đến thành phố")
    decomposed = "đu\u031bo\u031b\u0300ng"
    for query in ("đường", "duong", "ĐƯỜNG DEN", "thanh pho", decomposed):
        assert names(query) == ["Đường đến thành phố"], query


def test_scripts_that_write_vowels_as_marks_keep_their_words_whole(make, names):
    make("हिन्दी समाचार")
    assert names("हिन्दी") == ["हिन्दी समाचार"]
    assert names("समाच") == ["हिन्दी समाचार"]
    assert names("न") == []


def test_an_empty_query_finds_all_and_one_of_punctuation_nothing(make, names):
    make("a")
    assert names("") == names("  ") == names() == ["a"]
    assert names("!?") == names('"') == []


OPERATORS = [
    "a AND b",
    "a OR b",
    "NOT b",
    "NEAR(a b)",
    "name:a",
    "^a",
    "a*",
    '"a',
    "a\"b'c",
    "(",
    "{a}",
    "-a",
    "a+b",
]


@pytest.mark.parametrize("query", OPERATORS)
def test_what_full_text_search_takes_for_an_operator_is_text(make, names, query):
    make(f"Before {query} behind")
    make("a b c")
    assert names(f"before {query} behind") == [f"Before {query} behind"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=255))
def test_any_text_is_found_by_itself_and_by_each_of_its_words(db, text):
    fulltext.put("channel", 1, text, [])
    part = fulltext.containing(folded(text))
    queries = [fulltext.matching("channel", wanted) for wanted in (words(text), *zip(words(text))) if wanted]
    for sql in [*queries, part] if part else queries:
        assert [pk for (pk,) in run(sql.text, *sql.values)] == [1], sql


def test_what_was_changed_is_found_by_its_new_words_only(lifecycle, make, names, now):
    channel = make("Vịt", tags="xanh", description="bơi")
    lifecycle.update(channel.id, {"name": "Gà", "tags": ["đỏ"], "description": "chạy"}, now)
    assert (names("vịt"), names("xanh"), names("bơi")) == ([], [], [])
    assert names("gà") == names("đỏ") == names("chạy") == ["Gà"]


def test_a_change_that_is_taken_back_is_in_no_index(lifecycle, make, names, now):
    channel = make("Before")
    with database.atomic() as transaction:
        lifecycle.update(channel.id, {"name": "After"}, now)
        transaction.rollback()
    assert (names("before"), names("after")) == (["Before"], [])


def test_what_was_deleted_is_not_found_nor_are_its_videos(client, make, video, names):
    kept = video("Goes away")
    assert len(names("goes")) == 2
    client.delete(f"/v1/live/{kept.channel.id}?delete=true")
    assert (names("goes"), names()) == ([], [])
    make("Comes after")
    assert names("goes") == []


# Order, score, highlight.


def test_a_name_weighs_more_than_tags_and_tags_more_than_a_description(make, names):
    make("one", description="lotus here")
    make("two", 1, tags="lotus")
    make("three lotus", 2)
    assert names("lotus") == ["three lotus", "two", "one"]
    assert names("lotus", order="relevance") == ["three lotus", "two", "one"]
    assert names("lotus", order="asc") == ["one", "two", "three lotus"]
    assert names("lotus", order="desc") == ["three lotus", "two", "one"]


def test_the_best_match_has_the_highest_score(make, items):
    make("a lotus among many other flowers of the pond")
    make("lotus")
    for number in range(5):
        make(f"nothing of it {number}")
    best, other = items("lotus")
    assert best["score"] > other["score"] > 0
    assert best["name"] == "lotus", "the shorter text is more about the word"


def test_without_a_query_the_newest_comes_first_and_there_is_no_score(make, video, items):
    video("a", 10)
    make("b", 5)
    found = items()
    assert [(item["type"], item["name"]) for item in found] == [
        ("video", "a"),
        ("channel", "b"),
        ("channel", "a"),
    ]
    assert {(item["score"], str(item["highlight"])) for item in found} == {(None, "{}")}
    assert items(order="asc") == items(order="asc", query="") == found[::-1]
    assert items(order="relevance") == found


def test_channels_and_videos_are_pages_of_one_list(client, make, video):
    for number in range(7):
        video(f"lotus {number}", number)
    for query in ("", "query=lotus&", "query=lotus&order=asc&", "order=asc&"):
        whole = client.get(f"/v1/search?{query}length=100").json
        assert whole["total"] == 14
        pages = [client.get(f"/v1/search?{query}length=5&page={page}").json for page in range(4)]
        assert [item["id"] for page in pages for item in page["data"]] == [
            item["id"] for item in whole["data"]
        ]
        assert [page["total"] for page in pages] == [14] * 4


def test_a_highlight_marks_what_matched_as_it_was_written(make, items):
    make("Đêm nhạc <Huế>", description="Nhạc & thơ\nđêm nay", tags="đêm,rock & roll,nhạc số")
    [found] = items("dem nha")
    assert found["highlight"] == {
        "name": "<em>Đêm</em> <em>nhạc</em> &lt;Huế&gt;",
        "description": "<em>Nhạc</em> &amp; thơ\n<em>đêm</em> nay",
        "tags": ["<em>đêm</em>", "<em>nhạc</em> số"],
    }
    assert items("rock dem")[0]["highlight"].keys() == {"name", "description", "tags"}
    assert items("hue")[0]["highlight"] == {"name": "Đêm nhạc &lt;<em>Huế</em>&gt;"}


@given(st.text(), st.text())
def test_a_highlight_shows_the_text_unchanged_and_marks_nothing_but_words(text, query):
    wanted = words(query) or ["a"]
    shown = marked(text, wanted)
    hits = [word for word in words(text) if word in wanted or word.startswith(wanted[-1])]
    assert (shown is not None) == bool(hits)
    if shown is not None:
        escaped = shown.replace("<em>", "").replace("</em>", "")
        assert "<" not in escaped
        assert shown.count("<em>") == shown.count("</em>") <= len(hits)
        assert escaped == escape(text)


# Filters.


def test_by_type(make, video, items):
    video("lotus")
    for query in (None, "lotus"):
        assert [item["type"] for item in items(query, type="video")] == ["video"]
        assert [item["type"] for item in items(query, type="channel")] == ["channel"]
        assert len(items(query)) == 2


def test_an_item_is_the_object_with_what_search_adds(client, make, video, items):
    kept = video("lotus", tags="a")
    found = {item["type"]: item for item in items("lotus")}
    channel = client.get(f"/v1/live/{kept.channel.id}").json["data"]
    added = {"type", "score", "highlight"}
    assert {name: value for name, value in found["channel"].items() if name not in added} == channel
    shown = client.get(f"/v1/video/{kept.id}").json["data"]
    assert found["video"]["videoType"] == shown.pop("type") == "record"
    assert {name: found["video"][name] for name in shown} == shown
    assert found["video"].keys() - shown.keys() == {*added, "videoType"}
    assert list(found["video"])[:3] == ["type", "score", "highlight"]


def test_filters_that_only_channels_have_leave_videos_out(lifecycle, make, video, names, now):
    video("old", mode="low-latency")
    live = make("live", 1)
    session = lifecycle.publish(live.stream_token, arrival(1), now)
    lifecycle.playable(session.id, now)
    for query in (None, "old", "live"):
        assert names(query, status="live") == (["live"] if query != "old" else [])
        assert names(query, mode="low-latency") == (["old"] if query != "live" else [])
    assert sorted(names(status="live,init")) == ["live", "old"]
    assert names(status="live", type="video") == []


def test_filters_that_only_videos_have_leave_channels_out(video, names):
    video("short", 0, duration=10)
    video("long", 1, duration=100)
    assert names(minDuration=10) == ["long", "short"]
    assert names(minDuration=11) == ["long"]
    assert names(maxDuration=10) == names("short", maxDuration=10) == ["short"]
    assert names(minDuration=10, maxDuration=99) == ["short"]
    assert names(minDuration=1, type="channel") == []


def test_tags_account_and_time_are_filters_of_both(make, video, items, now):
    video("lotus a", 100, tags="x,y", accountId="1")
    video("lotus b", 200, tags="y,z", accountId="2")
    second = (now + after(seconds=150)).isoformat().replace("+00:00", "Z")

    def found(**asked) -> list[tuple[str, str]]:
        with_query, without = (
            sorted((each["type"], each["name"][-1]) for each in items(query, **asked))
            for query in ("lotus", None)
        )
        assert with_query == without
        return without

    channels, videos = [("channel", "a"), ("channel", "b")], [("video", "a"), ("video", "b")]
    assert found(tags="x,y,z") == channels + videos, "each once, though two tags match"
    assert found(tags="x") == [channels[0], videos[0]]
    assert found(accountId="2") == found(accountId="2", tags="z,q") == [channels[1], videos[1]]
    assert found(from_=second) == [videos[1]]
    assert found(to=second) == [*channels, videos[0]]
    assert found(tags="x", from_=second) == []


def test_a_bound_token_finds_its_account_only(client, make, video):
    video("lotus mine", accountId="acme")
    video("lotus theirs", accountId="other")
    Token.create(
        id="tok_a", secret_sha256=digest("s" * 20), role="app", account_id="acme", created_at=utcnow()
    )
    for path in ("/v1/search", "/v1/search?query=lotus", "/v1/search?accountId=acme"):
        body = client.get(path, headers=BOUND).json
        assert [item["name"] for item in body["data"]] == ["lotus mine"] * 2
        assert body["total"] == 2
    for path in ("/v1/search", "/v1/live", "/v1/video"):
        refused(client.get(f"{path}?accountId=other", headers=BOUND), 403, 40300)


BOUND = {"Authorization": "Basic dG9rX2E6c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M="}

WRONG = [
    *("type=all", "order=up", "status=on", "mode=fast", "accountId=a b", "from=yesterday", "to=1"),
    *("minDuration=-1", "maxDuration=x", "query=" + "x" * 256, "tags=" + "x" * 51, "query=%00", "name=x"),
]


def test_a_wrong_filter_is_422_by_its_name(client):
    for query in WRONG:
        assert wrong(client.get(f"/v1/search?{query}")) == {query.partition("=")[0]}
    assert wrong(client.get("/v1/search?query=a&query=b")) == {"query"}
    assert wrong(client.get("/v1/search?minDuration=2&maxDuration=1")) == {"minDuration"}
    assert wrong(client.get("/v1/search?from=now&to=2026-01-01T00:00:00Z")) == {"from"}
