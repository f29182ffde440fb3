// Writes into the page, and figures as people read them. What comes from the cluster is text, never HTML.

export const id = (name) => document.getElementById(name);

/** An element with properties and children; strings become text. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Writes only what is different, so that a choice or a focus stays. */
export function say(where, text, kind) {
  if (where.textContent !== text) where.textContent = text;
  if (kind !== undefined && where.className !== kind) where.className = kind;
}

/** Makes the children of a list follow the items by key; those that stay keep their elements. */
export function follow(list, items, key, make, update) {
  const held = list.contains(document.activeElement) ? document.activeElement : null;
  const there = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const shown = new Set();
  let before = null;
  for (const item of items) {
    const name = key(item);
    let child = there.get(name);
    // Two of one name are two elements.
    if (!child || shown.has(child)) {
      child = make(item);
      child.dataset.key = name;
    }
    shown.add(child);
    const place = before ? before.nextSibling : list.firstChild;
    if (place !== child) list.insertBefore(child, place);
    update(child, item);
    before = child;
  }
  for (const child of [...list.children]) if (!shown.has(child)) child.remove();
  // What is moved loses the focus.
  if (held && held !== document.activeElement && held.isConnected) held.focus({ preventScroll: true });
}

/** Which of a pager's buttons can be used; the focus goes to the other where it stands on one that can't. */
export function page(back, on, mayBack, mayOn) {
  const held = document.activeElement;
  back.disabled = !mayBack;
  on.disabled = !mayOn;
  if (held === back && !mayBack) on.focus();
  if (held === on && !mayOn) back.focus();
}

/** A name as text: one that runs from right to left does not turn what is around it, nor does what it hides. */
export function plain(name) {
  if (/^[\u0020-\u058f]*$/.test(name)) return name;
  return `\u2068${name.replace(/[\u0000-\u001f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, "\ufffd")}\u2069`;
}

// Figures

export function short(number, digits = 1) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (Math.abs(number) >= size) return `${(number / (unit === "k" ? 1e3 : size)).toFixed(digits)}\u00a0${unit}`;
  }
  return Number.isInteger(number) || Math.abs(number) >= 100 ? String(Math.round(number)) : number.toFixed(digits);
}

export function bytes(number) {
  if (number === undefined || number === null) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let at = 0;
  while (Math.abs(number) >= 1024 && at < units.length - 1) {
    number /= 1024;
    at += 1;
  }
  return `${at === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)}\u00a0${units[at]}`;
}

export const cores = (milli) =>
  milli === undefined ? "–" : milli >= 1000 ? `${(milli / 1000).toFixed(milli >= 10000 ? 1 : 2)} cores` : `${Math.round(milli)}\u00a0m`;
export const micros = (us) =>
  us === null || us === undefined ? "–" : us >= 1000 ? `${(us / 1000).toFixed(1)} ms` : `${Math.round(us)} µs`;

export function span(seconds) {
  seconds = Math.max(0, Math.round(seconds));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

/** How a metric's values are written, by its name. */
export function unit(metric) {
  if (/^cpu\/(usage_rate|limit|request|node_capacity|node_allocatable)$/.test(metric)) return cores;
  if (/^(memory|filesystem|ephemeral_storage)\//.test(metric) && !/(rate|faults|utilization|reservation)$/.test(metric)) return bytes;
  if (/(utilization|reservation)$/.test(metric)) return (share) => `${(share * 100).toFixed(1)} %`;
  if (metric === "cpu/usage") return (ns) => `${short(ns / 1e9)} s`;
  if (metric === "uptime") return (ms) => span(ms / 1000);
  if (/^network\/(rx|tx)_rate$/.test(metric)) return (rate) => `${bytes(rate)}/s`;
  if (/^network\/(rx|tx)$/.test(metric)) return bytes;
  return (number) => short(number);
}

export const family = (metric) => (metric.startsWith("cpu/") ? "cpu" : metric.startsWith("memory/") ? "memory" : "other");
