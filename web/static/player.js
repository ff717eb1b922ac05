// Plays an address in the video element: by hls.js, or by the browser itself where hls.js cannot run.

import { MODES, Pace, inHand } from "./latency.js";

const STUCK_MS = 10000; // a player that shows nothing new for this long is given up,
const STUCK_AFTER_RETURN_MS = 1500; // or for this long when the publisher has come back meanwhile
const WRITTEN_WITHIN = 8; // seconds: the playlist with what can be sought in comes in steps
const NEAR_LIVE = 2; // seconds: whoever pauses for less goes on following
const FIRST_IN_HAND = 0.9; // seconds: with parts of a third of a second
const PART = /p(\d+)-\d+\.ts/; // "p", the segment's number, "-" (media/parts.py)
const SETTINGS = {
  backBufferLength: 30, liveDurationInfinity: true, capLevelToPlayerSize: true,
  enableInterstitialPlayback: false, // it would start at the live edge, whatever is asked for
};
const RANGE = { start: 0, end: 0 };

// `?native` is for tests of browsers without Media Source Extensions.
const withHlsJs = Boolean(window.Hls?.isSupported()) && !new URLSearchParams(location.search).has("native");
const now = () => performance.now();

export class Player {
  // `changed`: look at me again; `failed`: this player is given up, start another.
  constructor(video, { changed, failed }) {
    this.video = video;
    this.changed = changed;
    this.failed = failed;
    this.canPlay = withHlsJs || Boolean(video.canPlayType("application/vnd.apple.mpegurl"));
    this.source = null;
    this.hls = null;
    this.pace = null;
    this.startedAt = 0;
    this.movedAt = 0; // when the picture moved last
    this.stalled = false;
    this.recoveredAt = -STUCK_MS;
    for (const name of ["timeupdate", "canplay", "waiting", "pause", "play", "error"]) {
      video.addEventListener(name, this[`on_${name}`].bind(this));
    }
  }

  // `source.kind`: "live", "dvr" with the seconds `behind` to start at, or "video" from `at`.
  start(source) {
    this.stop();
    this.source = source;
    this.startedAt = now();
    if (withHlsJs) this.startHlsJs(source);
    else this.startNative(source);
  }

  startHlsJs(source) {
    const { kind, url, mode } = source;
    const hls = new Hls({ ...SETTINGS, ...startingAt(source) });
    this.hls = hls;
    if (kind === "live") this.pace = new Pace(this.video, mode, () => this.toLiveEdge());
    if (kind === "live" && MODES[mode].parts) this.startAtKeyFrame();
    hls.on(Hls.Events.LEVEL_UPDATED, (_event, { details }) => this.pace?.segments(details.targetduration));
    hls.on(Hls.Events.ERROR, (_event, error) => error.fatal && this.recover(error.type));
    for (const name of ["MANIFEST_PARSED", "LEVEL_SWITCHED", "LEVEL_LOADED"]) hls.on(Hls.Events[name], this.changed);
    hls.loadSource(url);
    hls.attachMedia(this.video);
  }

  // hls.js takes a broadcast for sound alone when the first part that it reads has no key frame: it is given one that
  // has, and when all up to the newest part are there, the picture goes forward within them.
  startAtKeyFrame() {
    const { hls } = this;
    hls.once(Hls.Events.LEVEL_LOADED, (_event, { details }) => {
      const from = keyPart(details.fragments, details.edge - FIRST_IN_HAND);
      if (!from) return this.failed();
      hls.stopLoad();
      return hls.startLoad(from.start);
    });
    hls.on(Hls.Events.FRAG_BUFFERED, (_event, { frag }) => {
      if (!this.isNew || frag.sn < hls.latestLevelDetails.endSN) return;
      this.isNew = false;
      const spare = inHand(this.video) - FIRST_IN_HAND;
      if (spare > 0) this.video.currentTime += spare;
    });
    this.isNew = true;
  }

  startNative({ kind, url, behind, at }) {
    const { video } = this;
    video.src = url;
    if (kind === "live") return;
    video.addEventListener("loadedmetadata", () => {
      video.currentTime = kind === "dvr" ? Math.max(this.range.start, this.range.end - behind) : at;
    }, { once: true });
  }

  stop() {
    this.pace?.end();
    this.hls?.destroy();
    this.source = this.hls = this.pace = null;
    this.stalled = false;
    if (!this.video.hasAttribute("src")) return;
    this.video.removeAttribute("src");
    this.video.load();
  }

  // Nothing more will come: what has arrived is played to its end.
  finish() {
    this.hls?.stopLoad();
  }

  recover(type) {
    if (type !== Hls.ErrorTypes.MEDIA_ERROR || now() - this.recoveredAt < STUCK_MS) return this.failed();
    this.recoveredAt = now();
    return this.hls.recoverMediaError();
  }

  get hasPicture() {
    return Boolean(this.source) && !this.stalled && this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
  }

  // `liveAt`: when the channel has turned to live.
  isStuck(liveAt) {
    const { video } = this;
    if (video.ended || (video.paused && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA)) return false;
    const since = Math.max(this.startedAt, this.movedAt);
    return liveAt > since ? now() - liveAt > STUCK_AFTER_RETURN_MS : now() - since > STUCK_MS;
  }

  get isSteady() {
    return this.movedAt - this.startedAt > STUCK_MS;
  }

  // What can be sought in, in the time of the video element.
  get range() {
    const details = this.hls?.latestLevelDetails;
    if (details?.live) return { start: details.fragmentStart, end: details.edge + Math.min(details.age, WRITTEN_WITHIN) };
    const { seekable } = this.video;
    return seekable.length ? { start: seekable.start(0), end: seekable.end(seekable.length - 1) } : RANGE;
  }

  get isBehind() {
    if (!this.source) return false;
    return this.source.kind === "dvr" || (this.source.kind === "live" && this.pace?.following === false);
  }

  toLiveEdge() {
    const to = this.hls ? this.hls.liveSyncPosition : this.range.end - 3;
    if (this.pace) this.pace.following = true;
    if (to > this.video.currentTime) this.video.currentTime = to;
    this.play();
  }

  async play() {
    try {
      await this.video.play();
    } catch {
      this.video.muted = true; // a browser that wants a click before it makes a sound
      await this.video.play().catch(() => {});
    }
  }

  // The qualities that can be chosen, the best first, and which is: -1 stands for the player's choice.
  get qualities() {
    const levels = this.hls?.levels ?? [];
    return levels.map((level, index) => ({ index, height: level.height, rate: level.bitrate })).reverse();
  }

  get quality() {
    return this.hls?.autoLevelEnabled === false ? this.hls.loadLevel : -1;
  }

  set quality(index) {
    if (this.hls) this.hls.nextLevel = index;
  }

  get shownHeight() {
    return this.hls?.levels[this.hls.currentLevel]?.height ?? 0;
  }

  // What the video element tells.

  on_timeupdate() {
    this.movedAt = now();
  }

  on_canplay() {
    this.stalled = false;
    this.changed();
  }

  on_waiting() {
    this.stalled = true;
    this.pace?.stalled();
    this.changed();
  }

  // A browser pauses the muted video of a hidden page by itself: nobody wished to be behind then.
  on_pause() {
    if (this.pace && !document.hidden && !this.stalled) this.pace.following = false;
    this.changed();
  }

  on_play() {
    const { pace } = this;
    if (!pace) return;
    if (!pace.following && inHand(this.video) < pace.reserve + NEAR_LIVE) pace.following = true;
    else if (pace.following && this.hls.liveSyncPosition > this.video.currentTime + NEAR_LIVE) this.toLiveEdge();
  }

  on_error() {
    if (!this.hls && this.source && this.video.hasAttribute("src")) this.failed();
  }
}

function startingAt({ kind, mode, behind, at }) {
  switch (kind) {
    case "live":
      return MODES[mode].hls;
    case "dvr":
      return { liveSyncDuration: behind };
    default:
      return { startPosition: at };
  }
}

// The newest part that begins a segment, and so with a key frame, among those that begin before `latest`.
function keyPart(fragments, latest) {
  const segment = (fragment) => fragment && PART.exec(fragment.relurl)?.[1];
  return fragments.findLast((each, n) => each.start <= latest && (!segment(each) || segment(each) !== segment(fragments[n - 1])) );
}
