// The page's script: asks for JSON, and writes it as text. Nothing that comes from the cluster is ever HTML.
"use strict";

const SPARK = { width: 90, height: 24 };
const MOST_VALUES = 200;

const id = (name) => document.getElementById(name);

/** An element with properties and children; strings become text. */
function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Writes only what is different, so that a choice or a focus stays. */
function say(where, text, kind) {
  if (where.textContent !== text) where.textContent = text;
  if (kind !== undefined && where.className !== kind) where.className = kind;
}

/** Makes the children of a list follow the items by key; those that stay keep their elements. */
function follow(list, items, key, make, update) {
  const held = list.contains(document.activeElement) ? document.activeElement : null;
  const there = new Map([...list.children].map((child) => [child.dataset.key, child]));
  let before = null;
  for (const item of items) {
    const name = key(item);
    let child = there.get(name);
    there.delete(name);
    if (!child) {
      child = make(item);
      child.dataset.key = name;
    }
    const place = before ? before.nextSibling : list.firstChild;
    if (place !== child) list.insertBefore(child, place);
    update(child, item);
    before = child;
  }
  for (const gone of there.values()) gone.remove();
  // What is moved loses the focus.
  if (held && held !== document.activeElement && held.isConnected) held.focus({ preventScroll: true });
}

// Figures

function short(number, digits = 1) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (Math.abs(number) >= size) return `${(number / (unit === "k" ? 1e3 : size)).toFixed(digits)}\u00a0${unit}`;
  }
  return Number.isInteger(number) || Math.abs(number) >= 100 ? String(Math.round(number)) : number.toFixed(digits);
}

function bytes(number) {
  if (number === undefined || number === null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let at = 0;
  while (Math.abs(number) >= 1024 && at < units.length - 1) {
    number /= 1024;
    at += 1;
  }
  return `${at === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)}\u00a0${units[at]}`;
}

const cores = (milli) =>
  milli === undefined ? "–" : milli >= 1000 ? `${(milli / 1000).toFixed(milli >= 10000 ? 1 : 2)} cores` : `${Math.round(milli)}\u00a0m`;
const micros = (us) =>
  us === null || us === undefined ? "–" : us >= 1000 ? `${(us / 1000).toFixed(1)} ms` : `${Math.round(us)} µs`;

function span(seconds) {
  seconds = Math.max(0, Math.round(seconds));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

/** How a metric's values are written, by its name. */
function unit(metric) {
  if (/^cpu\/(usage_rate|limit|request|node_capacity|node_allocatable)$/.test(metric)) return cores;
  if (/^(memory|filesystem|ephemeral_storage)\//.test(metric) && !/(rate|faults|utilization|reservation)$/.test(metric)) return bytes;
  if (/(utilization|reservation)$/.test(metric)) return (share) => `${(share * 100).toFixed(1)} %`;
  if (metric === "cpu/usage") return (ns) => `${short(ns / 1e9)} s`;
  if (metric === "uptime") return (ms) => span(ms / 1000);
  if (/^network\/(rx|tx)_rate$/.test(metric)) return (rate) => `${bytes(rate)}/s`;
  if (/^network\/(rx|tx)$/.test(metric)) return bytes;
  return (number) => short(number);
}

const family = (metric) => (metric.startsWith("cpu/") ? "cpu" : metric.startsWith("memory/") ? "memory" : "other");

// Rates: the newest two cycles that were seen

const seen = new Map();

/** What a counter grew by in a second, between the last two cycles with different times; null before. */
function rate(name, value, cycle, now) {
  const known = seen.get(name) ?? { cycle, value, at: now, rate: null };
  if (value < known.value) seen.set(name, { cycle, value, at: now, rate: null });
  else if (cycle > known.cycle) {
    const seconds = (now - known.at) / 1000;
    seen.set(name, { cycle, value, at: now, rate: seconds > 0 ? (value - known.value) / seconds : null });
  } else seen.set(name, known);
  return seen.get(name).rate;
}

const perSecond = (number) => (number === null ? "–" : `${short(number)} points/s`);

// Asking

async function ask(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store" });
  if (!answer.ok) throw new Error(`${path.split("?")[0]} answers ${answer.status}`);
  return answer.json();
}

// Pipeline

function drawOverview(over, rules) {
  const now = Date.now();
  const cycle = over.cycle;
  const number = cycle ? cycle.number : 0;
  const seconds = over.resolution_ms / 1000;
  say(id("state"), over.ready ? "ready" : "not ready", `badge ${over.ready ? "good" : "bad"}`);
  const reason = id("reason");
  say(reason, over.not_ready ?? "");
  reason.hidden = over.ready;
  say(id("about"), `version ${over.version} · cycle ${number}${cycle ? ` at ${new Date(cycle.time).toLocaleTimeString()}` : ""}, every ${span(seconds)} · up ${span(over.uptime_seconds)}`);
  if (!cycle) return;
  const of = (count) => count / seconds;
  say(id("scrape-rate"), perSecond(of(cycle.points_scraped)));
  say(id("scrape-more"), `${cycle.nodes_answered} of ${cycle.nodes_asked} nodes in ${Math.round(cycle.stages.scrape_ms)} ms; ${short(cycle.pods)} pods, ${short(cycle.containers)} containers`);
  say(id("rules-rate"), perSecond(of(cycle.points_published)));
  const many = rules.rules.length;
  say(id("rules-more"), `go on, after ${many} ${many === 1 ? "rule" : "rules"} in ${Math.round(cycle.stages.rules_ms + cycle.stages.finish_ms)} ms a cycle`);
  let written = 0;
  let known = true;
  for (const sink of over.sinks) {
    const grown = rate(`sink ${sink.sink}`, sink.written, number, now);
    if (grown === null) known = false;
    else written += grown;
  }
  const failing = over.sinks.filter((sink) => sink.failing).length;
  say(id("sinks-rate"), known ? perSecond(written) : "–");
  const queued = over.sinks.reduce((sum, sink) => sum + sink.queued + sink.spooled, 0);
  say(id("sinks-more"), `written to ${over.sinks.length - failing} of ${over.sinks.length}; ${short(queued)} points wait`);
}

// Rules

function drawRules(all) {
  const shadows = all.shadows.map((rule) => ({ ...rule, isShadow: true }));
  follow(id("rules"), [...all.rules, ...shadows], (rule) => `${rule.isShadow ? "shadow" : "chain"} ${rule.slot}`,
    () => {
      const row = el("tr", {}, el("th", { scope: "row" }, el("span"), el("span", { className: "sub" })));
      for (const kind of ["", "number", "number", "number", "number", "number", ""]) row.append(el("td", { className: kind }));
      return row;
    },
    (row, rule) => {
      const [name, state, time, into, dropped, added, faults, effect] = row.children;
      say(name.firstChild, rule.name);
      say(name.lastChild, `${rule.slot} · ${rule.version || "no version"} · ${rule.digest.slice(7, 19)}`);
      name.lastChild.title = rule.digest;
      const kind = { running: "good", shadow: "quiet", trial: "late", parked: "late", halted: "bad" }[rule.state] ?? "";
      say(state, rule.parked_until ? `${rule.state} until cycle ${rule.parked_until}` : rule.state, kind);
      const stats = rule.stats;
      say(time, `${micros(stats.process_time.p50_us)}, p99 ${micros(stats.process_time.p99_us)}`);
      say(into, short(stats.points_in));
      say(dropped, short(stats.points_dropped));
      say(added, short(stats.points_added));
      const count = Object.values(stats.faults).reduce((sum, one) => sum + one, 0);
      say(faults, String(count), count ? "number bad" : "number");
      faults.title = stats.last_fault ? stats.last_fault.text : "";
      say(effect, effectOf(rule));
    });
  const reloads = all.reloads;
  const last = reloads?.last;
  const shown = !reloads ? "" : `Reloads: ${reloads.took_over} took over, ${reloads.refused} refused${reloads.phase === "idle" ? "" : `; now: ${typeof reloads.phase === "string" ? reloads.phase : JSON.stringify(reloads.phase)}`}.${last && !reloads.last_successful ? ` The last was refused: ${last.error ?? last.reason ?? JSON.stringify(last)}` : ""}`;
  say(id("reloads"), all.rules.length + all.shadows.length ? shown : `No rules are loaded. ${shown}`, reloads && !reloads.last_successful ? "bad" : "quiet");
}

function effectOf(rule) {
  if (!rule.isShadow) return "";
  const last = rule.last_cycle;
  if (!last) return "nothing to compare yet";
  const sides = ({ before, after }) => `${short(before)} → ${short(after)}`;
  return `points ${sides(last.points)}, series ${sides(last.series)}${rule.compared_with ? `; ${rule.batches_different} of ${rule.batches_compared} batches other than ${rule.compared_with}` : ""}`;
}

// Sinks

function drawSinks(over) {
  follow(id("sinks"), over.sinks, (sink) => sink.sink,
    (sink) => el("li", {},
      el("div", { className: "head" }, el("h3", {}, sink.sink), el("span")),
      el("meter", { min: 0, max: 1, high: 0.75, low: 0.5, optimum: 0, "aria-label": `Queue of ${sink.sink}` }),
      el("dl"), el("p", { className: "error" })),
    (card, sink) => {
      const [head, queue, list, error] = card.children;
      say(head.lastChild, sink.failing ? "failing" : "writing", `badge ${sink.failing ? "bad" : "good"}`);
      queue.value = sink.queue_bound_bytes ? sink.queued_bytes / sink.queue_bound_bytes : 0;
      const waits = sink.queued + sink.spooled + sink.in_flight;
      const since = sink.last_written_at ? (Date.now() - Date.parse(sink.last_written_at)) / 1000 : over.uptime_seconds;
      const dropped = Object.entries(sink.dropped).filter(([, points]) => points > 0);
      const lines = [
        ["Queue", `${short(sink.queued)} points, ${bytes(sink.queued_bytes)} of ${bytes(sink.queue_bound_bytes)}`],
        ["Lag", waits && sink.failing ? span(since) : sink.last_written_at ? "none" : "nothing written yet"],
        ["Spool", sink.spool_bound_bytes ? `${short(sink.spooled)} points, ${bytes(sink.spool_bytes)} of ${bytes(sink.spool_bound_bytes)}` : "none"],
        ["Offered", short(sink.offered + sink.recovered)],
        ["Written", short(sink.written)],
        ["Dropped", dropped.length ? dropped.map(([why, points]) => `${short(points)} ${why.replaceAll("_", " ")}`).join(", ") : "0"],
        ["Ledger", sink.imbalance === 0 ? "balances" : `off by ${sink.imbalance}`],
      ];
      follow(list, lines.flatMap(([name, text]) => [["dt", name, name], ["dd", name, text]]), ([tag, name]) => tag + name,
        ([tag]) => el(tag), (line, [, , text]) => say(line, text));
      const shown = sink.failing && sink.last_error ? sink.last_error.message : "";
      say(error, shown);
      error.hidden = !shown;
    });
}

// Nodes

const map = { from: 0, total: 0, size: 0, chosen: null };

function tileText(tile) {
  if (tile.state === "ok") return `${tile.name}: fresh, ${short(tile.points)} points in ${tile.took_ms} ms`;
  return `${tile.name}: ${tile.state}, no points for ${tile.failed_cycles} ${tile.failed_cycles === 1 ? "cycle" : "cycles"}`;
}

function drawMap(nodes) {
  Object.assign(map, { total: nodes.total, size: nodes.nodes.length });
  const list = id("map");
  follow(list, nodes.nodes, (tile) => tile.name,
    (tile) => {
      const button = el("button", { type: "button", tabIndex: -1 });
      button.addEventListener("click", () => {
        map.chosen = tile.name;
        chooseTile();
        choose({ level: "node", name: tile.name });
      });
      return button;
    },
    (button, tile) => {
      // A sign too: colour alone tells not everybody.
      say(button, tile.state === "ok" ? "" : tile.failed_cycles > 2 ? "×" : "!", tile.state === "ok" ? "" : tile.failed_cycles > 2 ? "gone" : "missed");
      const text = tileText(tile);
      if (button.title !== text) {
        button.title = text;
        button.setAttribute("aria-label", text);
      }
    });
  if (!list.querySelector("[tabindex='0']") && list.firstChild) list.firstChild.tabIndex = 0;
  id("map-pager").hidden = map.total <= map.size && map.from === 0;
  say(id("map-where"), `${map.size ? map.from + 1 : 0}–${map.from + map.size} of ${map.total}`);
  id("map-back").disabled = map.from === 0;
  id("map-on").disabled = map.from + map.size >= map.total;
  chooseTile();
}

function chooseTile() {
  for (const button of id("map").children) {
    const isChosen = button.dataset.key === map.chosen;
    if (button.getAttribute("aria-pressed") !== String(isChosen)) button.setAttribute("aria-pressed", String(isChosen));
    if (isChosen) say(id("node"), button.title);
  }
}

function drawStates(nodes) {
  const { ok = 0, ...others } = nodes.states;
  const states = [`${ok} fresh`, ...Object.entries(others).map(([state, count]) => `${count} failed (${state})`)];
  say(id("nodes-states"), `${nodes.total} nodes: ${states.join(", ")}. Green is fresh; ! has missed a cycle or two; × more.`);
  follow(id("troubled"), nodes.troubled, (node) => node.name, () => el("li"),
    (line, node) => say(line, `${node.name}: ${node.error ?? node.state}`));
}

id("map").addEventListener("keydown", (event) => {
  const tiles = [...id("map").children];
  const at = tiles.indexOf(document.activeElement);
  if (at < 0) return;
  const top = tiles[0].offsetTop;
  const across = Math.max(1, tiles.findIndex((tile) => tile.offsetTop > top));
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -at, End: tiles.length - 1 - at }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const next = tiles[Math.min(tiles.length - 1, Math.max(0, at + step))];
  tiles[at].tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});

// Usage

const chosen = { level: "cluster", namespace: undefined, name: "cluster", metric: "cpu/usage_rate" };
const used = { level: "pod", by: "cpu", search: "", from: 0, total: 0, shown: 0 };

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
      const pick = el("button", { type: "button", className: "pick" }, item.name);
      pick.addEventListener("click", () => choose({ level, namespace: item.namespace, name: item.name }));
      // On a phone a row is no row for its style, but still one for those who hear it.
      const cell = (className) => el("td", { className, role: "cell" });
      return el("tr", { role: "row" }, el("th", { scope: "row", role: "rowheader" }, pick, el("span", { className: "sub" })),
        cell("number"), cell("spark"), cell("number"), cell("spark"));
    },
    (row, item) => {
      const [name, cpu, cpuLine, memory, memoryLine] = row.children;
      say(name.lastChild, item.namespace ? `${item.namespace} on ${item.node}` : "");
      say(cpu, cores(newest(item.cpu)));
      spark(cpuLine, item.cpu, "cpu");
      say(memory, bytes(newest(item.memory)));
      spark(memoryLine, item.memory, "memory");
    });
  say(id("used-where"), answer.total ? `${used.from + 1}–${used.from + used.shown} of ${answer.total}` : "nothing found");
  id("used-back").disabled = used.from === 0;
  id("used-on").disabled = used.from + used.shown >= answer.total;
  press();
}

function press() {
  const key = keyOf(chosen.level, chosen);
  for (const row of id("used").children) {
    row.querySelector("button").setAttribute("aria-pressed", String(row.dataset.key === key));
  }
}

async function loadUsed() {
  const { level, by, search, from } = used;
  const answer = await ask(`api/v1/page/usage?${new URLSearchParams({ level, by, search, from })}`);
  // The choice may have changed meanwhile.
  if (level === used.level && by === used.by && search === used.search && from === used.from) drawUsed(answer);
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

async function choose({ level, namespace, name }) {
  Object.assign(chosen, { level, namespace, name });
  press();
  await guarded(loadChart);
}

async function loadChart() {
  const asked = keyOf(chosen.level, chosen);
  const metrics = await ask(`${model()}/metrics`);
  if (asked !== keyOf(chosen.level, chosen)) return;
  const select = id("metric");
  if (!metrics.includes(chosen.metric) && metrics.length) chosen.metric = metrics.includes("cpu/usage_rate") ? "cpu/usage_rate" : metrics[0];
  follow(select, metrics, (metric) => metric, (metric) => el("option", { value: metric }, metric), () => {});
  select.value = chosen.metric;
  const metric = chosen.metric;
  const values = metrics.length ? (await ask(`${model()}/metrics/${metric}`)).metrics : [];
  if (asked === keyOf(chosen.level, chosen) && metric === chosen.metric) drawChart(metric, values);
}

function drawChart(metric, values) {
  const points = values.map((point) => [Date.parse(point.timestamp) / 1000, point.floatValue ?? point.value]);
  const where = { cluster: "Cluster", namespace: `Namespace ${chosen.name}`, node: `Node ${chosen.name}`, pod: `Pod ${chosen.namespace}/${chosen.name}` };
  say(id("chart-title"), where[chosen.level]);
  const show = unit(metric);
  const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString();
  follow(id("values"), points.slice(-MOST_VALUES).reverse(), ([at]) => String(at), ([at]) => el("tr", {}, el("th", { scope: "row" }, time(at)), el("td", { className: "number" })),
    (row, [, value]) => say(row.lastChild, show(value)));
  if (!points.length) {
    id("chart").replaceChildren(el("p", { className: "quiet" }, "There are no values of it yet."));
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

// What people do

let typing;
id("choose").addEventListener("submit", (event) => event.preventDefault());
id("choose").addEventListener("input", (event) => {
  const form = event.currentTarget;
  clearTimeout(typing);
  typing = setTimeout(() => {
    Object.assign(used, { level: form.level.value, by: form.by.value, search: form.search.value.trim(), from: 0 });
    guarded(loadUsed);
  }, event.target.name === "search" ? 250 : 0);
});
id("metric").addEventListener("change", (event) => {
  chosen.metric = event.target.value;
  guarded(loadChart);
});
function turn(name, by) {
  id(name).addEventListener("click", () => {
    used.from = Math.max(0, used.from + by);
    guarded(loadUsed);
  });
}
turn("used-back", -20);
turn("used-on", 20);
function turnMap(name, by) {
  id(name).addEventListener("click", () => {
    map.from = Math.max(0, map.from + by);
    guarded(loadMap);
  });
}
turnMap("map-back", -1000);
turnMap("map-on", 1000);
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) return;
  event.preventDefault();
  id("choose").search.focus();
});

// Going on: small answers every few seconds, those that a cycle changes once a cycle

async function loadMap() {
  const from = map.from;
  const nodes = await ask(`api/v1/page/nodes?from=${from}`);
  if (from === map.from) drawMap(nodes);
}

/** Runs one part; what goes wrong is told, and tried again with the next cycle. */
async function guarded(part) {
  try {
    await part();
    return true;
  } catch (error) {
    say(id("reason"), error.message.includes("answers") ? error.message : "Millrace does not answer; trying again");
    id("reason").hidden = false;
    return false;
  }
}

let drawn = -1;
let next;
let isAsking = false;

async function tick() {
  if (isAsking) return;
  isAsking = true;
  clearTimeout(next);
  let wait = 5000;
  try {
    const [over, rules] = await Promise.all([ask("api/v1/page"), ask("api/v1/rules")]);
    drawOverview(over, rules);
    drawRules(rules);
    drawSinks(over);
    drawStates(over.nodes);
    wait = Math.min(5000, Math.max(1000, over.resolution_ms));
    // The store follows the cycle; both are asked for again until they have caught up.
    const number = over.store ? over.store.cycle : over.cycle ? over.cycle.number : 0;
    if (number !== drawn) {
      const parts = over.store ? [loadMap, loadUsed, loadChart] : [loadMap];
      const all = await Promise.all(parts.map(guarded));
      if (all.every(Boolean)) drawn = number;
      id("usage").hidden = !over.store;
    }
  } catch {
    say(id("state"), "no answer", "badge bad");
    say(id("reason"), "Millrace does not answer; trying again.");
    id("reason").hidden = false;
  }
  isAsking = false;
  if (!document.hidden) next = setTimeout(tick, wait);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) tick();
});
tick();
