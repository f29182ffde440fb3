// What people do, and when what is asked for: small answers every few seconds, those that a cycle changes once
// a cycle.
"use strict";

import { ask, guarded, tell } from "./ask.js";
import { id, say } from "./dom.js";
import { MAP_SIZE, drawOverview, drawRules, drawSinks, drawStates, loadMap, map } from "./parts.js";
import { USED_SIZE, chosen, loadChart, loadUsed, used } from "./usage.js";

const SLOWEST_MS = 5000;
const FASTEST_MS = 1000;
const TYPING_MS = 250;

let typing;
id("choose").addEventListener("submit", (event) => event.preventDefault());
id("choose").addEventListener("input", (event) => {
  const form = event.currentTarget;
  clearTimeout(typing);
  typing = setTimeout(() => {
    Object.assign(used, { level: form.level.value, by: form.by.value, search: form.search.value.trim(), from: 0 });
    guarded(loadUsed);
  }, event.target.name === "search" ? TYPING_MS : 0);
});
id("metric").addEventListener("change", (event) => {
  chosen.metric = event.target.value;
  guarded(loadChart);
});
function turn(name, what, by, load) {
  id(name).addEventListener("click", () => {
    what.from = Math.max(0, what.from + by);
    guarded(load);
  });
}
turn("used-back", used, -USED_SIZE, loadUsed);
turn("used-on", used, USED_SIZE, loadUsed);
turn("map-back", map, -MAP_SIZE, loadMap);
turn("map-on", map, MAP_SIZE, loadMap);
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName) && document.activeElement.type !== "radio") return;
  event.preventDefault();
  id("choose").search.focus();
});

/** The cycle that is drawn, and when that was asked for; what was seen before an outage is drawn anew. */
let drawn = -1;
let seenAt = null;

/** Asks for everything that may be different. How long until the next look, ms. */
async function look() {
  const [over, rules] = await Promise.all([ask("api/v1/page"), ask("api/v1/rules")]);
  seenAt = new Date();
  tell("look", "");
  document.querySelector("main").classList.remove("old");
  drawOverview(over, rules);
  drawRules(rules);
  drawSinks(over);
  drawStates(over.nodes);
  id("usage").hidden = !over.store;
  // The store follows the cycle; both are asked for again until they have caught up.
  const number = over.store ? over.store.cycle : over.cycle ? over.cycle.number : 0;
  if (number !== drawn) {
    const parts = over.store ? [loadMap, loadUsed, loadChart] : [loadMap];
    const all = await Promise.all(parts.map(guarded));
    if (all.every(Boolean)) drawn = number;
  }
  return Math.min(SLOWEST_MS, Math.max(FASTEST_MS, over.resolution_ms));
}

/** What is on the page is old, and looks it. */
function lost(error) {
  drawn = -1;
  document.querySelector("main").classList.toggle("old", seenAt !== null);
  say(id("state"), "no answer", "badge bad");
  const since = seenAt ? `what is shown is of ${seenAt.toLocaleTimeString()}; ` : "";
  tell("look", `${error.status ? error.message : "Millrace does not answer"}; ${since}trying again`);
}

let next;
let isLooking = false;

async function tick() {
  if (isLooking) return;
  isLooking = true;
  clearTimeout(next);
  let wait = SLOWEST_MS;
  try {
    wait = await look();
  } catch (error) {
    lost(error);
  }
  isLooking = false;
  if (!document.hidden) next = setTimeout(tick, wait);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) tick();
});
tick();
