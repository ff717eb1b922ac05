// The watch page: asks how the channel is, plays while there is something to play, says so while there is not.
// Words about the channel come from the server (routes/pages.py); only what this browser meets is worded here.

import { MODES, Pace } from "./latency.js";

const ASK_WAITING_MS = 2000;
const ASK_PLAYING_MS = 10000;
const STUCK_MS = 10000; // a player that shows nothing new for this long is given up,
const STUCK_AFTER_RETURN_MS = 1500; // or for this long when the publisher has come back meanwhile
const GONE = { status: "ended", label: "Over", headline: "This broadcast is no longer here", detail: "" };
const NO_SERVER = { headline: "No connection", detail: "The server cannot be reached. This page keeps trying." };
const NO_PLAYER = { headline: "This browser cannot play it", detail: "Use a current Firefox, Chrome, Edge or Safari." };
const IN_WORDS = { dateStyle: "full", timeStyle: "short" };

const page = document.querySelector("main");
const video = page.querySelector("video");
const unmute = page.querySelector(".unmute");
const withHlsJs = Boolean(window.Hls?.isSupported());
const canPlay = withHlsJs || Boolean(video.canPlayType("application/vnd.apple.mpegurl"));

let channel = { status: page.dataset.status }; // as the server described it last
let liveAt = 0; // when that turned to live
let unanswered = 0;
let timer;
let hls = null;
let pace = null;
let startedAt = 0; // of the player that there is now; 0: none
let movedAt = 0; // when the picture moved last
let stalled = false;
let recoveredAt = -STUCK_MS;
let failures = 0;

const now = () => performance.now();
const hasPicture = () => startedAt > 0 && !stalled && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;

async function look() {
  await ask();
  const calm = channel.status === "live" && hasPicture();
  if (channel.status !== "ended") lookIn(calm || unanswered > 2 ? ASK_PLAYING_MS : ASK_WAITING_MS);
  act();
  show();
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
}

function act() {
  if (channel.status === "ended") hls?.stopLoad(); // what has arrived is played to its end
  if (channel.status === "ended" && !hasPicture()) stop();
  if (channel.url && canPlay && !startedAt) start(channel.url);
  if (channel.url && startedAt && isStuck()) startAgain();
}

function isStuck() {
  if (video.paused && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) return false; // the viewer's wish
  const since = Math.max(startedAt, movedAt);
  return liveAt > since ? now() - liveAt > STUCK_AFTER_RETURN_MS : now() - since > STUCK_MS;
}

function start(url) {
  startedAt = now();
  if (!withHlsJs) return video.setAttribute("src", url);
  hls = new Hls(MODES[channel.mode].hls);
  pace = new Pace(video, channel.mode, () => { video.currentTime = hls.liveSyncPosition; });
  window.debug = { hls, pace };
  hls.on(Hls.Events.ERROR, (_event, error) => error.fatal && recover(error.type));
  hls.loadSource(url);
  hls.attachMedia(video);
}

function stop() {
  hls?.destroy();
  hls = null;
  pace?.end();
  pace = null;
  startedAt = 0;
  stalled = false;
  video.removeAttribute("src");
  video.load();
}

function recover(type) {
  if (type !== Hls.ErrorTypes.MEDIA_ERROR || now() - recoveredAt < STUCK_MS) return startAgain();
  recoveredAt = now();
  hls.recoverMediaError();
}

// Gives this player up; the next one comes after a pause that grows.
function startAgain() {
  stop();
  const ms = Math.min(500 * 2 ** failures, 10000);
  failures += 1;
  lookIn(ms);
}

function show() {
  const picture = hasPicture();
  page.dataset.status = channel.status;
  page.classList.toggle("playing", picture);
  video.controls = picture;
  unmute.hidden = !picture || !video.muted;
  const trouble = (unanswered > 1 && NO_SERVER) || (channel.url && !canPlay && NO_PLAYER);
  const { headline, detail } = (!picture && trouble) || channel;
  write(".badge", channel.label);
  write(".headline", headline);
  write(".detail", picture ? "" : detail);
  page.querySelector(".when").hidden = !channel.startAt;
  if (channel.startAt) write("time", new Date(channel.startAt).toLocaleString([], IN_WORDS));
}

// Only what is new is written: screen readers announce every change.
function write(selector, text) {
  const element = page.querySelector(selector);
  if (typeof text === "string" && element.textContent !== text) element.textContent = text;
}

video.addEventListener("timeupdate", () => {
  movedAt = now();
  if (movedAt - startedAt > STUCK_MS) failures = 0;
});
video.addEventListener("canplay", () => {
  stalled = false;
  show();
});
video.addEventListener("waiting", () => {
  stalled = true;
  pace?.stalled();
  lookIn(1000); // a short pause is not worth a word; of a longer one the server knows the reason
});
video.addEventListener("error", () => !hls && startedAt && startAgain());
video.addEventListener("volumechange", show);
unmute.addEventListener("click", () => {
  video.muted = false;
  video.focus();
});
document.addEventListener("visibilitychange", () => document.hidden || lookIn(0)); // hidden pages are put to sleep
look();
