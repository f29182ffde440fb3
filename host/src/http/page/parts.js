// Pipeline, rules, sinks and nodes.
import { ask, tell } from "./ask.js";
import { bytes, el, follow, id, micros, page, plain, say, short, span } from "./dom.js";
import { choose } from "./usage.js";

// Rates: the newest two cycles that were seen

/** Nodes in one answer. */
export const MAP_SIZE = 1000;

const seen = new Map();

/** What a counter grew by in a second, between the last two cycles with different times; null before. */
function rate(name, value, cycle, now) {
  const known = seen.get(name) ?? { cycle, value, at: now, rate: null };
  if (value < known.value || cycle < known.cycle) seen.set(name, { cycle, value, at: now, rate: null });
  else if (cycle > known.cycle) {
    const seconds = (now - known.at) / 1000;
    seen.set(name, { cycle, value, at: now, rate: seconds > 0 ? (value - known.value) / seconds : null });
  } else seen.set(name, known);
  return seen.get(name).rate;
}

const perSecond = (number) => (number === null ? "–" : `${short(number)} points/s`);

// Pipeline

export function drawOverview(over, rules) {
  const now = Date.now();
  const cycle = over.cycle;
  const number = cycle ? cycle.number : 0;
  const seconds = over.resolution_ms / 1000;
  say(id("state"), over.ready ? "ready" : "not ready", `badge ${over.ready ? "good" : "bad"}`);
  tell("ready", over.not_ready);
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
  say(id("sinks-rate"), known ? perSecond(written) : "counting");
  const queued = over.sinks.reduce((sum, sink) => sum + sink.queued, 0);
  say(id("sinks-more"), !over.sinks.length ? "no sink is configured" : `written to ${over.sinks.length - failing} of ${over.sinks.length}; ${short(queued)} points wait`);
}

// Rules

export function drawRules(all) {
  const shadows = all.shadows.map((rule) => ({ ...rule, isShadow: true }));
  follow(id("rules"), [...all.rules, ...shadows], (rule) => `${rule.isShadow ? "shadow" : "chain"} ${rule.slot}`,
    () => {
      const row = el("tr", {}, el("th", { scope: "row" }, el("span"), el("span", { className: "sub" })));
      for (const kind of ["", "number", "number", "number", "number", "number", ""]) row.append(el("td", { className: kind }));
      return row;
    },
    (row, rule) => {
      const [name, state, time, into, dropped, added, faults, effect] = row.children;
      say(name.firstChild, plain(rule.name));
      say(name.lastChild, `${plain(rule.slot)} · ${plain(rule.version || "no version")} · ${rule.digest.slice(7, 19)}`);
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
  const shown = !reloads ? "" : `Reloads: ${reloads.took_over} took over, ${reloads.refused} refused${reloads.phase === "idle" ? "" : `; now: ${typeof reloads.phase === "string" ? reloads.phase : JSON.stringify(reloads.phase)}`}.${last && !reloads.last_successful ? ` The last was refused: ${plain(last.error ?? last.reason ?? JSON.stringify(last))}` : ""}`;
  say(id("reloads"), all.rules.length + all.shadows.length ? shown : `No rules are loaded. ${shown}`, reloads && !reloads.last_successful ? "bad" : "quiet");
}

function effectOf(rule) {
  if (!rule.isShadow) return "";
  const last = rule.last_cycle;
  if (!last) return "nothing to compare yet";
  const sides = ({ before, after }) => `${short(before)} → ${short(after)}`;
  return `points ${sides(last.points)}, series ${sides(last.series)}${rule.compared_with ? `; ${rule.batches_different} of ${rule.batches_compared} batches other than ${plain(rule.compared_with)}` : ""}`;
}

// Sinks

export function drawSinks(over) {
  follow(id("sinks"), over.sinks, (sink) => sink.sink,
    (sink) => el("li", {},
      el("div", { className: "head" }, el("h3", {}, plain(sink.sink)), el("span")),
      el("meter", { min: 0, max: 1, high: 0.75, low: 0.5, optimum: 0, "aria-label": `Queue of ${sink.sink}` }),
      el("dl"), el("p", { className: "error" })),
    (card, sink) => {
      const [head, queue, list, error] = card.children;
      say(head.lastChild, sink.failing ? "failing" : "writing", `badge ${sink.failing ? "bad" : "good"}`);
      queue.value = sink.queue_bound_bytes ? sink.queued_bytes / sink.queue_bound_bytes : 0;
      const since = sink.last_written_at ? (Date.now() - Date.parse(sink.last_written_at)) / 1000 : over.uptime_seconds;
      const dropped = Object.entries(sink.dropped).filter(([, points]) => points > 0);
      const lines = [
        ["Queue", `${short(sink.queued - sink.spooled)} points, ${bytes(sink.queued_bytes)} of ${bytes(sink.queue_bound_bytes)}`],
        ["Lag", sink.queued && sink.failing ? span(since) : sink.last_written_at ? "none" : "nothing written yet"],
        ["Spool", sink.spool_bound_bytes ? `${short(sink.spooled)} points, ${bytes(sink.spool_bytes)} of ${bytes(sink.spool_bound_bytes)}` : "none"],
        ["Offered", short(sink.offered + sink.recovered)],
        ["Written", short(sink.written)],
        ["Dropped", dropped.length ? dropped.map(([why, points]) => `${short(points)} ${why.replaceAll("_", " ")}`).join(", ") : "0", dropped.length > 0],
        ["Ledger", sink.imbalance === 0 ? "balances" : `off by ${sink.imbalance}`, sink.imbalance !== 0],
      ];
      follow(list, lines.flatMap(([name, text, isBad]) => [["dt", name, name, ""], ["dd", name, text, isBad ? "bad" : ""]]), ([tag, name]) => tag + name,
        ([tag]) => el(tag), (line, [, , text, kind]) => say(line, text, kind));
      const shown = sink.failing && sink.last_error ? plain(sink.last_error.message) : "";
      say(error, shown);
      error.hidden = !shown;
    });
}

// Nodes

/** The part of the nodes that is shown; `from` is the first of them. */
export const map = { from: 0, total: 0, size: 0, chosen: null };

export async function loadMap() {
  const from = map.from;
  const nodes = await ask(`api/v1/page/nodes?from=${from}`);
  if (from !== map.from) return;
  // Nodes went while their part was shown.
  if (!nodes.nodes.length && from) {
    map.from = Math.max(0, Math.floor((nodes.total - 1) / MAP_SIZE) * MAP_SIZE);
    await loadMap();
  } else drawMap(nodes);
}

function tileText(tile) {
  if (tile.state === "ok") return `${plain(tile.name)}: fresh, ${short(tile.points)} points in ${tile.took_ms} ms`;
  return `${plain(tile.name)}: ${tile.state}, no points for ${tile.failed_cycles} ${tile.failed_cycles === 1 ? "cycle" : "cycles"}`;
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
  page(id("map-back"), id("map-on"), map.from > 0, map.from + map.size < map.total);
  chooseTile();
}

function chooseTile() {
  for (const button of id("map").children) {
    const isChosen = button.dataset.key === map.chosen;
    if (button.getAttribute("aria-pressed") !== String(isChosen)) button.setAttribute("aria-pressed", String(isChosen));
    if (isChosen) say(id("node"), button.title);
  }
}

export function drawStates(nodes) {
  const { ok = 0, ...others } = nodes.states;
  const states = [`${ok} fresh`, ...Object.entries(others).map(([state, count]) => `${count} failed (${state})`)];
  say(id("nodes-states"), `${nodes.total} nodes: ${states.join(", ")}. Green is fresh; ! has missed a cycle or two; × more.`);
  follow(id("troubled"), nodes.troubled, (node) => node.name, () => el("li"),
    (line, node) => say(line, `${plain(node.name)}: ${plain(node.error ?? node.state)}`));
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
