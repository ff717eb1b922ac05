// Charts of figures over time. A holder names the address of its figures; each figure in it is one chart of one of them.

const EVERY_MS = 10000;
const HEIGHT = 150;
const DAY_S = 86400;
const NOTHING = "Nothing in this time.";
const FAILED = "The figures cannot be read at the moment.";
const MISSING = "The charts are not installed here: npm was missing when the server was set up.";

// Of viewers and views there are no halves.
const WHOLE = [1, 2, 5].flatMap((digit) => [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].map((ten) => digit * ten)).sort((a, b) => a - b);

const clock = new Intl.DateTimeFormat([], { hour: "numeric", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat([], { month: "short", day: "numeric" });
const both = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "short" });
const colours = matchMedia("(prefers-color-scheme: dark)");

class Chart {
  constructor(figure) {
    const { chart, divide, unit, digits, bars } = figure.dataset;
    this.name = chart;
    this.unit = unit ? ` ${unit}` : "";
    this.divide = Number(divide ?? 1);
    this.digits = Number(digits ?? 0);
    this.number = new Intl.NumberFormat([], { maximumFractionDigits: this.digits });
    this.short = new Intl.NumberFormat([], { maximumFractionDigits: Math.max(1, this.digits), notation: "compact" });
    this.bars = bars !== undefined;
    this.past = figure.closest("[data-stays]") !== null;
    this.title = figure.querySelector("figcaption span").textContent;
    this.said = figure.querySelector("figcaption strong");
    this.place = figure.querySelector("div");
    this.place.setAttribute("role", "img");
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.place);
  }

  // A bar stands on the middle of its time: the first and the last need half of one more.
  room(low, high) {
    const half = this.bars && this.data[0].length > 1 ? (this.data[0][1] - this.data[0][0]) / 2 : 0;
    return [low - half, high + half];
  }

  size() {
    return { width: this.place.clientWidth, height: HEIGHT };
  }

  show(times, series) {
    const values = series.map((point) => (point[this.name] === null ? null : point[this.name] / this.divide));
    this.data = [times, values];
    const known = values.filter((value) => value !== null);
    if (!known.some((value) => value > 0)) this.clear();
    else if (this.plot) this.plot.setData(this.data);
    else this.draw();
    const most = known.length ? this.inWords(Math.max(...known)) : "nothing";
    this.place.setAttribute("aria-label", `${this.title}: at most ${most}, last ${this.inWords(this.last())}`);
    this.say(null);
  }

  // A frame around nothing says less than a word.
  clear() {
    this.plot?.destroy();
    this.plot = null;
    this.place.textContent = NOTHING;
    this.said.textContent = "";
    this.place.classList.add("void");
  }

  last() {
    return this.data[1].at(-1) ?? this.data[1].at(-2) ?? null; // the present minute is not over
  }

  inWords(value) {
    return value === null || value === undefined ? "–" : this.number.format(value) + this.unit;
  }

  // Where the pointer is; elsewhere the last figure, or what has been at most where the last means nothing by itself.
  say(index) {
    const pointed = index !== null && index !== undefined;
    const at = pointed ? ` at ${both.format(this.data[0][index] * 1000)}` : "";
    const otherwise = this.past ? `at most ${this.inWords(Math.max(...this.data[1], 0))}` : this.inWords(this.last());
    if (this.plot) this.said.textContent = pointed ? this.inWords(this.data[1][index]) + at : otherwise;
  }

  draw() {
    this.plot?.destroy();
    this.place.textContent = "";
    this.place.classList.remove("void");
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: of("--quiet"), grid: { stroke: of("--line"), width: 1 }, ticks: { show: false }, font: `12px ${of("--plain")}` };
    const span = this.data[0].at(-1) - this.data[0][0];
    const format = span > 2 * DAY_S ? calendar : clock;
    const line = { stroke: of("--chart"), fill: of("--chart-ground"), width: 2, spanGaps: false, points: { size: 5, filter: (plot, series) => alone(plot.data[series]) } };
    const bars = { stroke: of("--chart"), fill: of("--chart"), width: 0, points: { show: false } };
    if (this.bars) bars.paths = uPlot.paths.bars({ size: [0.7, 40] });
    this.plot = new uPlot({
      ...this.size(),
      legend: { show: false },
      padding: [8, 20, 0, 0],
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: "time" } },
      scales: { x: { range: (_plot, low, high) => this.room(low, high) }, y: { range: (_plot, _low, high) => [0, this.digits ? high * 1.1 : Math.max(high * 1.1, 1)] } },
      axes: [
        { ...axis, size: 28, space: 70, values: (_plot, splits) => splits.map((split) => format.format(split * 1000)) },
        { ...axis, size: 44, space: 34, incrs: this.digits ? undefined : WHOLE, values: (_plot, splits) => splits.map((split) => this.short.format(split)) },
      ],
      series: [{}, this.bars ? bars : line],
      hooks: { setCursor: [(plot) => this.say(plot.cursor.idx)] },
    }, this.data, this.place);
  }
}

// Where nothing is on either side no line can be drawn.
function alone(values) {
  const known = (index) => (values[index] ?? null) !== null;
  return values.flatMap((_value, index) => (known(index) && !known(index - 1) && !known(index + 1) ? [index] : []));
}

// The same figures for whoever does not see the charts.
function fillTable(table, charts, times) {
  const cell = (name, text) => Object.assign(document.createElement(name), { textContent: text });
  const row = (cells) => { const made = document.createElement("tr"); made.append(...cells); return made; };
  const head = row([cell("th", "Time"), ...charts.map((chart) => cell("th", chart.title))]);
  const body = times.map((time, index) =>
    row([cell("td", both.format(time * 1000)), ...charts.map((chart) => cell("td", chart.inWords(chart.data[1][index])))]));
  table.replaceChildren(head, ...body.reverse());
}

function begin(holder) {
  const trouble = holder.querySelector(".trouble");
  const tell = (text) => { trouble.textContent = text; trouble.hidden = !text; };
  if (!window.uPlot) return tell(MISSING);
  const charts = [...holder.querySelectorAll("[data-chart]")].map((figure) => new Chart(figure));
  const table = holder.querySelector("details table");
  let times = [];
  let timer;
  const read = async () => {
    const reply = await fetch(holder.dataset.series, { headers: { Accept: "application/json", "X-By-Itself": "1" } });
    if (!reply.ok || reply.redirected) throw new Error(`${holder.dataset.series}: ${reply.status}`);
    const { series } = await reply.json();
    times = series.map((point) => Date.parse(point.time) / 1000);
    charts.forEach((chart) => chart.show(times, series));
    if (table.closest("details").open) fillTable(table, charts, times);
  };
  const look = () => read().then(() => tell(""), () => tell(FAILED)).then(next);
  const next = () => {
    clearTimeout(timer);
    if (!document.hidden && holder.dataset.stays === undefined) timer = setTimeout(look, EVERY_MS);
  };
  table.closest("details").addEventListener("toggle", () => fillTable(table, charts, times));
  document.addEventListener("visibilitychange", () => document.hidden || look());
  colours.addEventListener("change", () => charts.forEach((chart) => chart.plot && chart.draw()));
  look();
}

document.querySelectorAll("[data-series]").forEach(begin);
