// What the browser's own controls do not have: back to live, seeking in a live broadcast, previews, quality.

import { cueAt } from "./storyboard.js";

const STEP = 10; // seconds, by an arrow key
const PREVIEW_WIDTH = 160;

export class Bar {
  // `wishes`: seek(seconds), by the bar's own time, and live().
  constructor(element, player, wishes) {
    this.element = element;
    this.player = player;
    this.wishes = wishes;
    this.pictures = [];
    this.dragging = false;
    const find = (selector) => element.querySelector(selector);
    this.live = find(".golive");
    this.seek = find(".seek");
    this.range = find("input");
    this.preview = find(".peek");
    this.picture = find(".picture");
    this.clock = find(".clock");
    this.quality = find(".quality");
    this.choice = find("select");
    this.live.addEventListener("click", () => wishes.live());
    this.range.addEventListener("input", () => this.drag());
    this.range.addEventListener("change", () => this.drop());
    this.range.addEventListener("pointermove", (event) => this.peek(this.pointed(event)));
    for (const name of ["pointerleave", "blur"]) this.range.addEventListener(name, () => this.unpeek());
    this.choice.addEventListener("change", () => { player.quality = Number(this.choice.value); });
  }

  // `axis`: what can be sought in, {min, max, value}, or null. Live it is 0, and what has been is below.
  show({ axis, canGoLive }) {
    this.axis = axis;
    this.live.hidden = !canGoLive;
    this.seek.hidden = !axis;
    this.clock.hidden = !axis;
    if (axis && !this.dragging) this.put(axis);
    const several = this.showQualities();
    this.element.hidden = !(canGoLive || axis || several);
  }

  put({ min, max, value }) {
    Object.assign(this.range, { min: Math.floor(min), max: Math.ceil(max), value });
    this.say(value);
  }

  say(value) {
    const { max } = this.axis;
    const live = max === 0 && value > -1;
    const text = live ? "Live" : max === 0 ? `−${clock(-value)}` : `${clock(value)} / ${clock(max)}`;
    if (this.clock.textContent !== text) this.clock.textContent = text;
    this.range.setAttribute("aria-valuetext", live ? "Live" : `${clock(Math.abs(value))}${max === 0 ? " behind live" : ""}`);
  }

  step(seconds) {
    if (!this.axis) return;
    this.wishes.seek(Math.min(this.axis.max, Math.max(this.axis.min, this.axis.value + seconds)));
  }

  drag() {
    this.dragging = true;
    this.say(Number(this.range.value));
    this.peek(Number(this.range.value));
  }

  drop() {
    this.dragging = false;
    this.unpeek();
    this.wishes.seek(Number(this.range.value));
  }

  pointed({ clientX }) {
    const { left, width } = this.range.getBoundingClientRect();
    const part = Math.min(1, Math.max(0, (clientX - left) / width));
    return this.axis.min + part * (this.axis.max - this.axis.min);
  }

  peek(value) {
    const { min, max } = this.axis;
    const cue = max > 0 && cueAt(this.pictures, value);
    this.preview.hidden = false;
    this.preview.style.left = `${((value - min) / (max - min || 1)) * 100}%`;
    this.preview.querySelector("span").textContent = max === 0 ? `−${clock(-value)}` : clock(value);
    this.picture.hidden = !cue;
    if (!cue) return;
    Object.assign(this.picture.style, {
      width: `${cue.width}px`, height: `${cue.height}px`, backgroundImage: `url(${CSS.escape(cue.url)})`,
      backgroundPosition: `-${cue.x}px -${cue.y}px`, zoom: PREVIEW_WIDTH / cue.width,
    });
  }

  unpeek() {
    this.preview.hidden = true;
  }

  showQualities() {
    const found = this.player.qualities;
    const several = found.length > 1;
    this.quality.hidden = !several;
    if (!several) return false;
    const automatic = this.player.quality === -1 && this.player.shownHeight ? `Auto (${this.player.shownHeight}p)` : "Auto";
    const wanted = [[-1, automatic], ...found.map(({ index, height, rate }) => [index, height ? `${height}p` : `${Math.round(rate / 1000)} kbit/s`])];
    if (String(wanted) !== this.offered) {
      this.offered = String(wanted);
      this.choice.replaceChildren(...wanted.map(([value, text]) => new Option(text, value)));
    }
    this.choice.value = String(this.player.quality);
    return true;
  }
}

// Keys for the whole page, where nothing else wants them.
export function keys(page, video, bar, wishes) {
  const does = {
    " ": () => (video.paused ? video.play() : video.pause()),
    k: () => (video.paused ? video.play() : video.pause()),
    m: () => { video.muted = !video.muted; },
    f: () => (document.fullscreenElement ? document.exitFullscreen() : video.requestFullscreen()),
    l: () => wishes.live(),
    ArrowLeft: () => bar.step(-STEP),
    ArrowRight: () => bar.step(STEP),
  };
  document.addEventListener("keydown", (event) => {
    const busy = event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, button, a, textarea");
    const act = does[event.key];
    // Space and arrows on the video itself are the browser's own.
    if (busy || !act || !page.classList.contains("playing") || (event.target === video && event.key.length > 1)) return;
    if (event.target === video && event.key === " ") return;
    event.preventDefault();
    act();
  });
}

export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}
