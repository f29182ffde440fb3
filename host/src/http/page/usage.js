// Who uses most, and the chart of what is chosen.
import { ask, guarded } from "./ask.js";
import { bytes, cores, el, family, follow, id, page, plain, say, svg, unit } from "./dom.js";

const SPARK = { width: 90, height: 24 };
const MOST_VALUES = 200;
/** Items in one answer. */
export const USED_SIZE = 20;

export const chosen = { level: "cluster", namespace: undefined, name: "cluster", metric: "cpu/usage_rate" };
/** What is listed; `from` is the first rank that is shown. */
export const used = { level: "pod", by: "cpu", search: "", from: 0, total: 0, shown: 0 };

function path(points, width, height, most, pad = 1) {
  const first = points[0][0];
  const last = points[points.length - 1][0];
  const across = last > first ? (width - 2 * pad) / (last - first) : 0;
  return points.map(([time, value]) =>
    `${(pad + (time - first) * across).toFixed(1)},${(height - pad - (value / most) * (height - 2 * pad)).toFixed(1)}`);
}

function spark(cell, points, kind) {
  const key = JSON.stringify(points);
  if (cell.dataset.drawn === key) return;
  cell.dataset.drawn = key;
  const { width, height } = SPARK;
  const most = Math.max(...points.map(([, value]) => value), 1e-9);
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  if (points.length > 1) drawn.append(svg("polyline", { class: kind, points: path(points, width, height, most).join(" ") }));
  cell.replaceChildren(drawn);
}

const keyOf = (level, item) => `${level} ${item.namespace ?? ""}/${item.name}`;
const newest = (points) => (points.length ? points[points.length - 1][1] : undefined);

function drawUsed(answer) {
  Object.assign(used, { total: answer.total, shown: answer.items.length });
  const level = used.level;
  follow(id("used"), answer.items, (item) => keyOf(level, item),
    (item) => {
      const pick = el("button", { type: "button", className: "pick" }, plain(item.name));
      pick.addEventListener("click", () => choose({ level, namespace: item.namespace, name: item.name }));
      // On a phone a row is no row for its style, but still one for those who hear it.
      const cell = (className) => el("td", { className, role: "cell" });
      return el("tr", { role: "row" }, el("th", { scope: "row", role: "rowheader" }, pick, el("span", { className: "sub" })),
        cell("number"), cell("spark"), cell("number"), cell("spark"));
    },
    (row, item) => {
      const [name, cpu, cpuLine, memory, memoryLine] = row.children;
      say(name.lastChild, item.namespace ? `${plain(item.namespace)} on ${plain(item.node ?? "?")}` : "");
      say(cpu, cores(newest(item.cpu)));
      spark(cpuLine, item.cpu, "cpu");
      say(memory, bytes(newest(item.memory)));
      spark(memoryLine, item.memory, "memory");
    });
  say(id("used-where"), answer.total ? `${used.from + 1}–${used.from + used.shown} of ${answer.total}` : "nothing found");
  page(id("used-back"), id("used-on"), used.from > 0, used.from + used.shown < answer.total);
  press();
}

function press() {
  const key = keyOf(chosen.level, chosen);
  for (const row of id("used").children) {
    row.querySelector("button").setAttribute("aria-pressed", String(row.dataset.key === key));
  }
}

export async function loadUsed() {
  const { level, by, search, from } = used;
  const answer = await ask(`api/v1/page/usage?${new URLSearchParams({ level, by, search, from })}`);
  // The choice may have changed meanwhile.
  if (level !== used.level || by !== used.by || search !== used.search || from !== used.from) return;
  // There are fewer than there were when the page was turned.
  if (!answer.items.length && from && answer.total <= from) {
    used.from = Math.max(0, Math.floor((answer.total - 1) / USED_SIZE) * USED_SIZE);
    await loadUsed();
  } else drawUsed(answer);
}

// The chart

function model() {
  const name = encodeURIComponent(chosen.name);
  const base = "api/v1/model";
  if (chosen.level === "cluster") return base;
  if (chosen.level === "namespace") return `${base}/namespaces/${name}`;
  if (chosen.level === "node") return `${base}/nodes/${name}`;
  return `${base}/namespaces/${encodeURIComponent(chosen.namespace)}/pods/${name}`;
}

export async function choose({ level, namespace, name }) {
  Object.assign(chosen, { level, namespace, name });
  press();
  const card = id("chart-card");
  // Where the chart stands above the list, who chooses would not see it.
  if (matchMedia("(max-width: 860px)").matches) card.scrollIntoView({ block: "start" });
  await guarded(loadChart);
}

export async function loadChart() {
  const asked = keyOf(chosen.level, chosen);
  const isAsked = () => asked === keyOf(chosen.level, chosen);
  const metrics = await kept(`${model()}/metrics`, []);
  if (!isAsked()) return;
  const select = id("metric");
  if (!metrics.includes(chosen.metric) && metrics.length) chosen.metric = metrics.includes("cpu/usage_rate") ? "cpu/usage_rate" : metrics[0];
  follow(select, metrics, (metric) => metric, (metric) => el("option", { value: metric }, plain(metric)), () => {});
  select.value = chosen.metric;
  select.parentElement.hidden = !metrics.length;
  const metric = chosen.metric;
  const path = metric.split("/").map(encodeURIComponent).join("/");
  const values = metrics.length ? (await kept(`${model()}/metrics/${path}`, { metrics: [] })).metrics : [];
  if (isAsked() && metric === chosen.metric) drawChart(metric, values);
}

/** What is answered, or something else for what is not there, like a pod that was deleted. */
async function kept(path, otherwise) {
  try {
    return await ask(path);
  } catch (error) {
    if (error.status === 404) return otherwise;
    throw error;
  }
}

function drawChart(metric, values) {
  const points = values.map((point) => [Date.parse(point.timestamp) / 1000, point.floatValue ?? point.value]);
  const name = plain(chosen.name);
  const where = { cluster: "Cluster", namespace: `Namespace ${name}`, node: `Node ${name}`, pod: `Pod ${plain(chosen.namespace ?? "")}/${name}` };
  say(id("chart-title"), where[chosen.level]);
  const show = unit(metric);
  const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString();
  follow(id("values"), points.slice(-MOST_VALUES).reverse(), ([at]) => String(at), ([at]) => el("tr", {}, el("th", { scope: "row" }, time(at)), el("td", { className: "number" })),
    (row, [, value]) => say(row.lastChild, show(value)));
  if (!points.length) {
    id("chart").replaceChildren(el("p", { className: "quiet" }, "Nothing of it is kept: it is new, or gone."));
    return;
  }
  const [width, height, top, kind] = [480, 170, 22, family(metric)];
  const most = Math.max(...points.map(([, value]) => value), 1e-9) * 1.1;
  const last = newest(points);
  const label = `${metric}: now ${show(last)}, at most ${show(Math.max(...points.map(([, value]) => value)))}`;
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height + 44}`, role: "img", "aria-label": label });
  for (const share of [0, 0.5, 1]) {
    const y = top + height - share * height;
    drawn.append(svg("line", { class: "axis", x1: 0, x2: width, y1: y, y2: y }), svg("text", { x: 0, y: y - 4 }, share ? show(most * share) : "0"));
  }
  const line = path(points, width, height, most, 4).map((pair) => {
    const [x, y] = pair.split(",").map(Number);
    return `${x},${(y + top).toFixed(1)}`;
  });
  const ends = [line[0].split(",")[0], line[line.length - 1].split(",")];
  if (line.length > 1) {
    drawn.append(svg("polyline", { class: `area ${kind}`, points: `${ends[0]},${top + height} ${line.join(" ")} ${ends[1][0]},${top + height}` }),
      svg("polyline", { class: kind, points: line.join(" ") }));
  }
  drawn.append(svg("circle", { class: kind, cx: ends[1][0], cy: ends[1][1], r: 3.5 }),
    svg("text", { x: 0, y: height + 40 }, time(points[0][0])),
    svg("text", { x: width, y: height + 40, "text-anchor": "end" }, `${time(points[points.length - 1][0])}: ${show(last)}`));
  id("chart").replaceChildren(drawn);
}
