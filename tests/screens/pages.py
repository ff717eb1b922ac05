"""What is photographed: every page that the app has for people, in its states."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

NOBODY = "nobody"  # not signed in
ROOT = "root"
READER = "reader"  # a token that may only read
NEWCOMER = "newcomer"  # a token of an account that has nothing yet

PLAYS = "return Boolean(document.querySelector('main.playing'))"
COUNTS = "return !document.querySelector('.countdown').hidden"
# Seeks back first, as a viewer does.
BEHIND = """
const range = document.querySelector(".seek input");
if (!document.querySelector("main.playing") || range.min > -25) return false;
if (!window.sought) {
  range.value = -20;
  range.dispatchEvent(new Event("change"));
  window.sought = true;
}
return !document.querySelector(".golive").hidden;
"""
PREVIEWS = """
const inside = document.querySelector("iframe.preview")?.contentDocument?.querySelector("video");
return Boolean(inside?.closest(".playing"));
"""
SAYS = "return document.querySelector('.headline').textContent.length > 0"


@dataclass(frozen=True)
class Page:
    """One picture in each look. What the world has made stands in braces in the path."""

    name: str
    path: str
    who: str = ROOT
    typed: dict[str, str] = field(default_factory=dict)  # by the id of the field
    press: str = ""  # a selector: pressed when all is typed
    leads_to: str = ""  # the endpoint whose answer is seen then
    until: str = ""  # a script that is true when there is all to see
    status: int = 200
    framed: bool = False  # is seen in a frame of 16:9


def channel_pages() -> Iterator[Page]:
    room = "/console/channels/{live}"
    yield Page("channels", "/console/channels")
    yield Page("channels-filtered", "/console/channels?status=ended&tags=lecture")
    yield Page("channels-nothing-matches", "/console/channels?query=nothing+like+that")
    yield Page("channels-wrong-filter", "/console/channels?status=later")
    yield Page("channels-empty", "/console/channels", NEWCOMER)
    yield Page("channel-live", room, until=PREVIEWS)
    yield Page("channel-troubled", "/console/channels/{troubled}", until=PREVIEWS)
    yield Page("channel-coming", "/console/channels/{coming}")
    yield Page("channel-waiting", "/console/channels/{waiting}")
    yield Page("channel-interrupted", "/console/channels/{interrupted}")
    yield Page("channel-ended", "/console/channels/{ended}")
    yield Page("channel-error", "/console/channels/{error}")
    yield Page("channel-signed", "/console/channels/{signed}")
    yield Page("channel-for-a-reader", room, READER, until=PREVIEWS)
    yield Page("channel-created", "/console/channels/{waiting}?done=created")
    yield Page("channel-timeline", f"{room}/timeline")
    yield Page("channel-sessions", f"{room}/sessions")
    yield Page("channel-sessions-none", "/console/channels/{waiting}/sessions")
    yield Page("channel-videos", "/console/channels/{ended}/videos")
    yield Page("channel-videos-none", "/console/channels/{waiting}/videos")
    yield Page("channel-new", "/console/channels/new")
    wrong = {"expire": "1", "tags": "far-too-long-a-tag-" * 4, "stopTimeout": "999999"}
    yield Page(
        "channel-new-wrong",
        "/console/channels/new",
        typed=wrong,
        press=".sections .primary",
        leads_to="console.channels.create",
        status=422,
    )
    yield Page("channel-edit", f"{room}/edit")
    yield Page("channel-edit-ended", "/console/channels/{ended}/edit")
    yield Page(
        "channel-edit-wrong",
        f"{room}/edit",
        typed={"name": " "},
        press=".sections .primary",
        leads_to="console.channel.update",
        status=422,
    )
    for verb in ("stop", "reset", "delete"):
        yield Page(f"channel-{verb}", f"{room}/{verb}")
    # Without its script the page asks for the key by a form.
    yield Page("channel-key", f"{room}#key", press="[data-show]", leads_to="console.channel.key")
    yield Page(
        "channel-studio-link",
        "/console/channels/{waiting}",
        press="form[action$='/studio'] button",
        leads_to="console.channel.studio_link",
    )
    yield Page(
        "channel-invite",
        "/console/channels/{signed}",
        press="form[action$='/invite'] button",
        leads_to="console.channel.invite",
    )


def webhook_pages() -> Iterator[Page]:
    one = "/console/webhooks/{webhook}"
    yield Page("webhooks", "/console/webhooks")
    yield Page("webhooks-empty", "/console/webhooks", NEWCOMER)
    yield Page("webhook", one)
    yield Page("webhook-failing", "/console/webhooks/{failing}")
    yield Page("webhook-off", "/console/webhooks/{off}")
    yield Page("webhook-nothing-matches", f"{one}?status=cancelled")
    yield Page("delivery", one + "/deliveries/{delivered}")
    yield Page("delivery-failing", "/console/webhooks/{failing}/deliveries/{tried}")
    yield Page("delivery-given-up", "/console/webhooks/{failing}/deliveries/{given_up}")
    yield Page("webhook-new", "/console/webhooks/new")
    yield Page(
        "webhook-new-wrong",
        "/console/webhooks/new",
        typed={"uri": "ftp://receiver.example/events"},
        press=".sections .primary",
        leads_to="console.webhooks.create",
        status=422,
    )
    yield Page("webhook-edit", f"{one}/edit")
    yield Page(
        "webhook-edit-wrong",
        f"{one}/edit",
        typed={"uri": "nowhere"},
        press=".sections .primary",
        leads_to="console.webhooks.update",
        status=422,
    )
    for verb in ("again", "rotate", "delete"):
        yield Page(f"webhook-{verb}", f"{one}/{verb}")
    yield Page(
        "webhook-again-wrong",
        f"{one}/again",
        press=".panel .primary",
        leads_to="console.webhooks.again",
        status=422,
    )
    yield Page(
        "webhook-secret",
        "/console/webhooks/{off}/rotate",
        press=".panel .primary",
        leads_to="console.webhooks.rotate",
    )


def other_pages() -> Iterator[Page]:
    yield Page("videos", "/console/videos")
    yield Page("videos-empty", "/console/videos", NEWCOMER)
    yield Page("video-delete", "/console/videos/{video}/delete")
    for span in ("hour", "day", "month"):
        yield Page(f"analytics-{span}", f"/console/analytics?span={span}")
    yield Page("analytics-of-a-channel", "/console/analytics?span=hour&channelId={live}")
    yield Page("analytics-empty", "/console/analytics", NEWCOMER)
    yield Page("users", "/console/users")
    yield Page("user", "/console/users/council")
    yield Page("user-without-limits", "/console/users/anybody")
    yield Page(
        "user-wrong",
        "/console/users/council",
        typed={"maxLive": "-1"},
        press=".sections .primary",
        leads_to="console.users.update",
        status=422,
    )
    yield Page("user-new", "/console/users/new")
    yield Page(
        "user-new-wrong",
        "/console/users/new",
        typed={"id": "not an account"},
        press=".sections .primary",
        leads_to="console.users.create",
        status=422,
    )
    yield Page("user-reset", "/console/users/council/reset")
    yield Page("tokens", "/console/tokens")
    yield Page("token-new", "/console/tokens/new")
    yield Page(
        "token-new-wrong",
        "/console/tokens/new",
        typed={"accountId": "not an account"},
        press="form[method=post] .primary",
        leads_to="console.tokens.create",
        status=422,
    )
    yield Page(
        "token-made",
        "/console/tokens/new",
        typed={"name": "App Server of the sports club"},
        press="form[method=post] .primary",
        leads_to="console.tokens.create",
    )
    yield Page("token-revoke", "/console/tokens/{token}/revoke")
    yield Page("audit", "/console/audit")
    yield Page("audit-nothing-matches", "/console/audit?action=nothing")
    yield Page("box", "/console/box")
    yield Page("console-nothing-here", "/console/nothing", status=404)
    yield Page("console-not-allowed", "/console/users", READER, status=403)


def pages_of_everybody() -> Iterator[Page]:
    yield Page("sign-in", "/")
    yield Page("sign-in-over", "/?over=idle")
    yield Page(
        "sign-in-wrong",
        "/",
        typed={"id": "root", "secret": "guessed"},
        press=".sign-in .primary",
        leads_to="front.signed_in",
        status=422,
    )
    for state in ("live", "coming", "waiting", "interrupted", "ended", "error"):
        shown = {"live": PLAYS, "coming": COUNTS}.get(state, SAYS)
        yield Page(f"watch-{state}", f"/watch/{{{state}}}", until=shown)
        yield Page(f"embed-{state}", f"/embed/{{{state}}}", until=shown, framed=True)
    yield Page("watch-replay", "/watch/{ended}", press=".again", until=PLAYS)
    yield Page("embed-replay", "/embed/{ended}", press=".again", until=PLAYS, framed=True)
    yield Page("watch-behind-live", "/watch/{live}", until=BEHIND)
    yield Page("embed-behind-live", "/embed/{live}", until=BEHIND, framed=True)
    yield Page("watch-by-invitation", "/watch/{signed}", status=403)
    yield Page("watch-nothing-here", "/watch/nothing", status=404)
    yield Page("watch-mistyped", "/watch/no/such/page", status=404)
    yield Page("studio-live", "/studio/{studio_live}", until=PLAYS)
    yield Page("studio-troubled", "/studio/{studio_troubled}", until=PLAYS)
    for state in ("waiting", "coming", "interrupted", "ended"):
        yield Page(f"studio-{state}", f"/studio/{{studio_{state}}}", until=SAYS)
    yield Page("studio-closed", "/studio/none", status=404)
    yield Page("studio-mistyped", "/studio/no/such/page", status=404)
    yield Page("docs", "/docs", until="return Boolean(document.querySelector('.opblock'))")


PAGES = (
    *(replace(each, who=NOBODY) for each in pages_of_everybody()),
    *channel_pages(),
    *webhook_pages(),
    *other_pages(),
)

GOES_ON = "answers with the way to another page"
A_PART = "is a part of a page, which has it in its own picture"
FOR_PROGRAMS = "answers programs"
LEFT_OUT = {
    "front.sign_out": GOES_ON,
    "console.home": GOES_ON,
    "console.channel.reset": GOES_ON,
    "console.channel.stop": GOES_ON,
    "console.channel.delete": GOES_ON,
    "console.channel.take_back_studio_links": GOES_ON,
    "console.tokens.revoke": GOES_ON,
    "console.users.reset": GOES_ON,
    "console.videos.delete": GOES_ON,
    "console.webhooks.delete": GOES_ON,
    "console.webhooks.redeliver": GOES_ON,
    "console.webhooks.test": GOES_ON,
    "console.channels.rows": A_PART,
    "console.channel.state": A_PART,
    "console.system.rows": A_PART,
    "console.webhooks.rows": A_PART,
    "console.webhooks.tries": A_PART,
    "console.channel.statistics": FOR_PROGRAMS,
    "console.analytics.series": FOR_PROGRAMS,
    "pages.watch_state": FOR_PROGRAMS,
    "pages.oembed": FOR_PROGRAMS,
    "studio_page.state": FOR_PROGRAMS,
    "studio_page.key": FOR_PROGRAMS,
    "elsewhere.send_on": FOR_PROGRAMS,
    "docs.openapi_json": FOR_PROGRAMS,
    "docs.docs_file": "is a file of /docs",
    "static": "is a file of the pages",
    "service.alive": FOR_PROGRAMS,
    "service.ready": FOR_PROGRAMS,
    "service.scrape": FOR_PROGRAMS,
}
