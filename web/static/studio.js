// The broadcaster's page: how the broadcast is, what viewers see of it, and the two fields for the encoder.

import { clock } from "./bar.js";
import { Player } from "./player.js";

const ASK_MS = 3000;
const SAID_MS = 2000;
const NO_SERVER = { headline: "No connection", detail: "The server cannot be reached. This page keeps trying." };
const CLOSED = {
  status: "ended", label: "Closed", headline: "This link opens nothing any more", detail: "Ask for a new one.", onAir: 0,
};

const page = document.querySelector("main");
const video = page.querySelector("video");
const keyField = page.querySelector("#stream-key");
const hidden = keyField.value;
const showKey = page.querySelector("[data-show]");
const player = new Player(video, { changed: show, failed: () => player.stop() });

let broadcast = { status: page.dataset.status, onAir: 0 };
let answeredAt = 0;
let unanswered = 0;
let liveAt = 0;

async function look() {
  const before = broadcast.status;
  try {
    const reply = await fetch(page.dataset.stateUrl, { cache: "no-store", signal: AbortSignal.timeout(8000) });
    if (reply.ok) broadcast = await reply.json();
    else if (reply.status === 404) broadcast = CLOSED;
    else throw new Error(`state: ${reply.status}`);
    answeredAt = performance.now();
    unanswered = 0;
  } catch {
    unanswered += 1;
  }
  if (broadcast.status === "live" && before !== "live") liveAt = performance.now();
  preview();
  show();
  if (broadcast.status !== "ended") setTimeout(look, ASK_MS);
}

function preview() {
  const { status, url, mode } = broadcast;
  if (player.source && (status === "ended" || (url && player.isStuck(liveAt)))) player.stop();
  if (url && !player.source && player.canPlay) player.start({ kind: "live", url, mode });
}

function show() {
  const picture = player.hasPicture;
  page.dataset.status = broadcast.status;
  page.classList.toggle("playing", picture);
  video.controls = picture;
  const { headline, detail } = unanswered > 1 ? NO_SERVER : broadcast;
  write(".badge", broadcast.label);
  write(".headline", headline);
  write(".detail", detail);
  page.querySelector(".when").hidden = !broadcast.startAt;
  if (broadcast.startAt) write(".when time", local(broadcast.startAt));
  page.querySelector(".fields").hidden = broadcast.status === "ended";
  const { viewers, health } = broadcast;
  page.querySelector(".viewers").hidden = viewers === undefined || viewers === null;
  write(".viewers dd", String(viewers ?? ""));
  showHealth(health);
  tick();
}

function showHealth(health) {
  const box = page.querySelector(".health");
  box.hidden = !health;
  if (!health || box.dataset.said === JSON.stringify(health)) return;
  box.dataset.said = JSON.stringify(health);
  box.dataset.health = health.grade;
  write(".health strong", health.word);
  write(".health span", health.detail);
  const items = health.reasons.map((text) => Object.assign(document.createElement("li"), { textContent: text }));
  page.querySelector(".health ul").replaceChildren(...items);
}

function tick() {
  const since = broadcast.sending ? (performance.now() - answeredAt) / 1000 : 0;
  write(".onair", clock(broadcast.onAir + since));
}

function write(selector, text) {
  const element = page.querySelector(selector);
  if (typeof text === "string" && element.textContent !== text) element.textContent = text;
}

function local(moment) {
  return new Date(moment).toLocaleString([], { dateStyle: "full", timeStyle: "short" });
}

// The key is asked for when it is wanted, and is not in the page before.
async function streamKey() {
  const reply = await fetch(page.dataset.keyUrl, { method: "POST" });
  if (!reply.ok) throw new Error(`key: ${reply.status}`);
  return (await reply.json()).key;
}

async function toggleKey() {
  const shown = showKey.getAttribute("aria-pressed") === "true";
  keyField.value = shown ? hidden : await streamKey();
  showKey.setAttribute("aria-pressed", String(!shown));
  showKey.textContent = shown ? "Show" : "Hide";
}

async function copy(button) {
  const field = document.getElementById(button.dataset.copy);
  await toClipboard(field.value === hidden ? await streamKey() : field.value);
  say(button, "Copied");
}

// Browsers keep navigator.clipboard for https and localhost.
async function toClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = Object.assign(document.createElement("textarea"), { value: text });
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  return area.remove();
}

function say(button, word) {
  button.textContent = word;
  button.focus();
  write(".spoken", word);
  setTimeout(() => {
    button.textContent = "Copy";
    write(".spoken", "");
  }, SAID_MS);
}

for (const button of page.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", () => copy(button).catch(() => say(button, "Failed")));
}
showKey.addEventListener("click", () => toggleKey().catch(() => write(".spoken", "Failed")));
const until = page.querySelector(".until");
until.textContent = local(until.dateTime);
setInterval(tick, 1000);
look();
