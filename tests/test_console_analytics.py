"""Charts: what they are drawn from, by the rules of the API, and that they are drawn."""

from datetime import timedelta

from selenium.webdriver.common.by import By

from db import database, run, to_ms, utcnow
from models import Channel
from tests.browser import wait_for
from tests.test_console_pages import findings, signed_in, world

MINUTE = timedelta(minutes=1)


def watch(channel_id: str, account_id: str, viewers: int) -> None:
    """A minute of viewers, as the worker counts it: for the channel, its account and all."""
    time = to_ms(utcnow() - 2 * MINUTE) // 60_000 * 60_000
    for table, at in (("audience_minute", time), ("audience_hour", time // 3_600_000 * 3_600_000)):
        for scope in ((channel_id, account_id), ("", account_id), ("", "")):
            run(
                f"""INSERT INTO {table} (channel_id, account_id, time, peak, views, watch_ms, bytes,
                                         broadcast_ms, looks, bitrate, fps)
                    VALUES (?, ?, ?, ?, ?, ?, 1000, 60000, 30, 144000, 1500) ON CONFLICT DO NOTHING""",
                *(*scope, at, viewers, viewers, viewers * 60_000),
            )


def test_a_channels_charts_show_its_last_hour(person, channel, visitor, db):
    watch(channel["id"], "1", 7)
    address = f"/console/channels/{channel['id']}/statistics"
    series = person.get(address).json["series"]
    assert len(series) == 60
    [point] = [each for each in series if each["ccu"]]
    assert (point["ccu"], point["bitrateIn"], point["fps"]) == (7, 4_800_000, 50.0)
    assert visitor(accountId="acme").get(address).status_code == 404


def test_the_figures_beside_the_charts_need_no_script(person, channel, db):
    watch(channel["id"], "1", 7)
    page = person.get("/console/analytics?span=day").text
    assert "<dd>7</dd>" in page
    assert "<dd>7 min</dd>" in page
    assert "A channel</a>" in page
    assert "<dt>Most at once</dt><dd>7</dd>" in person.get(f"/console/channels/{channel['id']}").text


def test_analytics_are_those_of_the_tokens_account(person, visitor, client, channel, db):
    ours = client.post("/v1/live", json={"name": "Ours", "accountId": "acme"}).json["data"]
    watch(channel["id"], "1", 7)
    watch(ours["id"], "acme", 3)
    someone = visitor(accountId="acme")
    page = someone.get("/console/analytics").text
    assert "Ours</a>" in page
    assert "A channel</a>" not in page
    assert "<dd>3</dd>" in page
    assert max(each["ccu"] for each in someone.get("/console/analytics/series").json["series"]) == 3
    assert someone.get("/console/analytics?accountId=1").status_code == 403
    assert "<dd>7</dd>" in person.get(f"/console/analytics?channelId={channel['id']}&accountId=").text


def test_every_span_has_its_interval_and_others_are_refused(person):
    lengths = {}
    for span in ("hour", "day", "week", "month", "year"):
        lengths[span] = len(person.get(f"/console/analytics/series?span={span}").json["series"])
    assert lengths["hour"] in (60, 61)
    assert lengths["day"] in (24, 25)
    assert lengths["week"] in (168, 169)
    assert lengths["month"] in (30, 31)
    assert lengths["year"] in (365, 366)
    assert 'role="alert"' in person.get("/console/analytics?span=century").text


def test_charts_are_drawn_and_told_to_those_who_do_not_see_them(config):
    with signed_in(config) as (browser, address):
        there = world(config)
        with database.connection_context():
            watch(there.live, Channel.named(there.live).account_id, 7)
        for page, count in ((f"/console/channels/{there.live}", 3), ("/console/analytics", 4)):
            browser.get(address + page)
            wait_for(browser, f"return document.querySelectorAll('.chart canvas').length === {count}", 10)
            label = browser.find_element(By.CSS_SELECTOR, "[data-chart=ccu] [role=img]").get_attribute(
                "aria-label"
            )
            assert "at most 7" in label
            browser.execute_script("document.querySelector('.charts details').open = true")
            wait_for(
                browser,
                "return [...document.querySelectorAll('.charts td')].some((each) => each.textContent === '7')",
                5,
            )
            assert findings(browser) == []
        complaints = [each["message"] for each in browser.get_log("browser")]
        assert [each for each in complaints if "/play/" not in each] == []
