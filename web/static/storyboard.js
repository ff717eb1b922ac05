// The pictures of a broadcast over its time: a WebVTT file whose cues name parts of larger pictures (#xywh=).

const CUE = /([\d:.]+)\s+-->\s+([\d:.]+)[^\n]*\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)/g;

export async function storyboard(url) {
  try {
    const reply = await fetch(url);
    return reply.ok ? cues(await reply.text(), reply.url) : [];
  } catch {
    return []; // seeking goes without
  }
}

export function cues(text, base) {
  return [...text.replaceAll("\r\n", "\n").matchAll(CUE)].map(([, from, to, file, x, y, width, height]) => ({
    from: seconds(from), to: seconds(to), url: new URL(file, base).href, x: +x, y: +y, width: +width, height: +height,
  }));
}

export function cueAt(all, time) {
  return all.find(({ from, to }) => from <= time && time < to);
}

function seconds(clock) {
  return clock.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}
