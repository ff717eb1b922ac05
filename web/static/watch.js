// The watch page: asks how the channel is, plays while there is something to play, says so while there is not.
// Words about the channel come from the server (routes/pages.py); only what this browser meets is worded here.

import { Bar, clock, keys } from "./bar.js";
import { Player } from "./player.js";
import { storyboard } from "./storyboard.js";

const ASK_WAITING_MS = 2000;
const ASK_PLAYING_MS = 10000;
const DVR_S = 7200;
const DVR_LATE_S = 10; // its playlist has whole segments and is written every few seconds
const CATCHUP_WITHIN_MS = 60000;
const GONE = { status: "ended", label: "Over", headline: "This broadcast is no longer here", detail: "" };
const NO_SERVER = { headline: "No connection", detail: "The server cannot be reached. This page keeps trying." };
const NO_PLAYER = { headline: "This browser cannot play it", detail: "Use a current Firefox, Chrome, Edge or Safari." };
const IN_WORDS = { dateStyle: "full", timeStyle: "short" };

const page = document.querySelector("main");
const video = page.querySelector("video");
const unmute = page.querySelector(".unmute");
const again = page.querySelector(".again");
const countdown = page.querySelector(".countdown");

let channel = { status: page.dataset.status }; // as the server described it last
let liveAt = 0; // when that turned to live
let endedAt = 0;
let behind = 0; // seconds, as the viewer wished it: 0 is live
let replay = null; // seconds to start the recording at
let unanswered = 0;
let failures = 0;
let timer;

const player = new Player(video, { changed: show, failed: startAgain });
const wishes = { seek: seekTo, live: goLive };
const bar = new Bar(page.querySelector(".bar"), player, wishes);
const now = () => performance.now();

async function look() {
  await ask();
  const calm = channel.status === "live" && player.hasPicture;
  if (!isOver()) lookIn(calm || unanswered > 2 ? ASK_PLAYING_MS : ASK_WAITING_MS);
  act();
  show();
}

// Nothing that the server could still say would change this page.
function isOver() {
  return channel.status === "ended" && (channel.videoUrl || now() - endedAt > CATCHUP_WITHIN_MS);
}

function lookIn(ms) {
  clearTimeout(timer);
  timer = setTimeout(look, ms * (0.8 + 0.4 * Math.random())); // viewers who came together need not ask together
}

async function ask() {
  const before = channel.status;
  try {
    const reply = await fetch(page.dataset.stateUrl, { cache: "no-store", signal: AbortSignal.timeout(8000) });
    if (reply.ok) channel = await reply.json();
    else if (reply.status === 403 || reply.status === 404) channel = GONE;
    else throw new Error(`state: ${reply.status}`);
    unanswered = 0;
  } catch {
    unanswered += 1;
  }
  if (channel.status === "live" && before !== "live") liveAt = now();
  if (channel.status === "ended" && !endedAt) endedAt = now();
}

function act() {
  const kind = player.source?.kind;
  if (channel.status === "ended" && kind === "live") {
    if (player.hasPicture) player.finish();
    else player.stop();
  }
  if (!player.source && player.canPlay) {
    const source = wanted();
    if (source) player.start(source);
  }
  if (channel.url && player.source && player.isStuck(liveAt)) startAgain();
}

function wanted() {
  if (channel.videoUrl && replay !== null) return { kind: "video", url: channel.videoUrl, at: replay };
  if (channel.url && channel.dvrUrl && behind) return { kind: "dvr", url: channel.dvrUrl, behind };
  return channel.url ? { kind: "live", url: channel.url, mode: channel.mode } : null;
}

// Gives this player up; the next one comes after a pause that grows.
function startAgain() {
  if (player.isSteady) failures = 0;
  if (player.source?.kind === "video") replay = video.currentTime;
  if (player.source?.kind === "dvr") behind = player.range.end - video.currentTime;
  player.stop();
  const ms = Math.min(500 * 2 ** failures, 10000);
  failures += 1;
  if (channel.status === "ended") setTimeout(act, ms);
  else lookIn(ms);
}

// What the viewer wishes.

function goLive() {
  behind = 0;
  if (player.source?.kind === "dvr") {
    player.stop();
    act();
    player.play();
  } else if (player.source?.kind === "live") player.toLiveEdge();
  show();
}

// By the bar's time: seconds from the start of a recording, or below 0 for before live.
function seekTo(seconds) {
  if (player.source?.kind === "video") video.currentTime = seconds;
  else if (seconds > -DVR_LATE_S) goLive();
  else seekBack(-seconds);
  show();
}

function seekBack(seconds) {
  behind = seconds;
  if (player.source?.kind === "dvr") {
    const { start, end } = player.range;
    video.currentTime = Math.max(start + 1, end - seconds);
    return;
  }
  player.stop();
  act();
  player.play();
}

async function watchAgain() {
  replay = 0;
  player.start(wanted());
  video.muted = false;
  video.focus();
  player.play();
  if (channel.storyboardUrl) bar.pictures = await storyboard(channel.storyboardUrl);
}

// What the page shows.

function show() {
  const picture = player.hasPicture;
  page.dataset.status = channel.status;
  page.classList.toggle("playing", picture);
  page.classList.toggle("seekable", picture && Boolean(axis()));
  video.controls = picture;
  unmute.hidden = !picture || !video.muted;
  again.hidden = picture || replay !== null || !channel.videoUrl || !player.canPlay;
  const trouble = (unanswered > 1 && NO_SERVER) || (channel.url && !player.canPlay && NO_PLAYER);
  const { headline, detail } = (!picture && trouble) || channel;
  write(".badge", channel.label);
  write(".headline", headline);
  write(".detail", picture ? "" : detail);
  page.querySelector(".when").hidden = !channel.startAt;
  if (channel.startAt) write("time", new Date(channel.startAt).toLocaleString([], IN_WORDS));
  bar.show({ axis: player.source ? axis() : null, canGoLive: picture && channel.status === "live" && player.isBehind });
}

function axis() {
  const { start, end } = player.range;
  switch (player.source?.kind) {
    case "video":
      return end > start ? { min: start, max: end, value: video.currentTime } : null;
    case "dvr":
      return { min: Math.min(start - end, -1), max: 0, value: Math.min(0, video.currentTime - end) };
    default:
      return channel.dvrUrl ? { min: -Math.min(DVR_S, channel.onAir), max: 0, value: 0 } : null;
  }
}

// Only what is new is written: screen readers announce every change.
function write(selector, text) {
  const element = page.querySelector(selector);
  if (typeof text === "string" && element.textContent !== text) element.textContent = text;
}

function tick() {
  const left = channel.startAt ? (Date.parse(channel.startAt) - Date.now()) / 1000 : 0;
  countdown.hidden = !(left > 0 && left < 86400);
  if (!countdown.hidden) countdown.textContent = clock(left);
  if (channel.dvrUrl && channel.status === "live") channel.onAir += 1;
  if (player.source) show();
}

for (const name of ["volumechange", "seeked", "ended"]) video.addEventListener(name, show);
// A short pause is not worth a word; of a longer one the server knows the reason.
video.addEventListener("waiting", () => channel.status !== "ended" && lookIn(1000));
video.addEventListener("waiting", () => channel.status === "ended" && act());
unmute.addEventListener("click", () => {
  video.muted = false;
  video.focus();
});
again.addEventListener("click", watchAgain);
document.addEventListener("visibilitychange", () => document.hidden || isOver() || lookIn(0)); // hidden pages sleep
keys(page, video, bar, wishes);
setInterval(tick, 1000);
look();
