// How far behind the broadcast a viewer is kept: as near as the mode asks for and the connection allows.
//
// hls.js decides by the live edge where to start; from then on the buffer decides. Its lowest level within a few
// seconds is what there is in hand against a late segment: more of it is latency for nothing, less is a stall.
// Measured figures for these numbers: docs/measured.md, "From capture to screen".

// `parts`: the playlist lists parts of segments; `reserve`: seconds in hand at the lowest; `fastest`: a rate that nobody hears.
export const MODES = {
  "ultra-low-latency": {
    parts: true, reserve: 0.3, fastest: 1.1,
    hls: { liveSyncDurationCount: 1, maxFragLookUpTolerance: 0.05 },
  },
  "low-latency": { reserve: 1, fastest: 1.1, hls: { liveSyncDurationCount: 2 } },
  normal: { reserve: 3.5, fastest: 1.05, hls: { liveSyncDurationCount: 3 } },
};

const LOOK_EVERY_MS = 100;
const LOOK_BACK = 3; // seconds, and over longer segments more than one
const NEAR = 0.08;
const SLOWEST = 0.95;
const STALL_COSTS = 0.2; // seconds of more reserve, after each
const MOST_RESERVE = 5;
const TOO_FAR = 8; // to be made up by a faster rate

export class Pace {
  constructor(video, mode, jump) {
    this.video = video;
    this.mode = MODES[mode];
    this.jump = jump; // to the live edge
    this.reserve = this.mode.reserve;
    this.following = true; // not while the viewer has paused or gone back
    this.segments(0);
    this.levels = [];
    this.timer = setInterval(() => this.look(), LOOK_EVERY_MS);
  }

  // How long they may be: the level falls until the next one has come.
  segments(seconds) {
    this.looks = Math.ceil(Math.max(LOOK_BACK, 1.25 * seconds) * 1000 / LOOK_EVERY_MS);
  }

  stalled() {
    if (this.following) this.reserve = Math.min(this.reserve + STALL_COSTS, MOST_RESERVE);
    this.levels = [];
  }

  look() {
    if (!this.following || this.video.paused || this.video.seeking) {
      this.levels = [];
      return this.rate(1);
    }
    this.levels.push(inHand(this.video));
    if (this.levels.length < this.looks) return undefined;
    this.levels = this.levels.slice(-this.looks);
    const spare = Math.min(...this.levels) - this.reserve;
    if (spare > TOO_FAR) return this.jump();
    if (spare > NEAR) return this.rate(Math.min(this.mode.fastest, 1 + spare / 4));
    if (spare < -NEAR) return this.rate(SLOWEST);
    return this.rate(1);
  }

  rate(value) {
    if (this.video.playbackRate !== value) this.video.playbackRate = value;
  }

  end() {
    clearInterval(this.timer);
    this.rate(1);
  }
}

// Seconds from what is shown now to the end of what has arrived without a gap.
export function inHand({ buffered, currentTime }) {
  for (let n = 0; n < buffered.length; n += 1) {
    if (buffered.start(n) <= currentTime + 0.1 && currentTime < buffered.end(n)) return buffered.end(n) - currentTime;
  }
  return 0;
}
