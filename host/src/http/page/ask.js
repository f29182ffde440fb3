// Asks Millrace, and tells what does not work.
import { id, say } from "./dom.js";

// A forwarded port can be dead without saying so.
const PATIENCE_MS = 20000;

/** What is wrong now, by the part of the page that found it. */
const problems = new Map();

export async function ask(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!answer.ok) throw Object.assign(new Error(`${path.split("?")[0]} answers ${answer.status}`), { status: answer.status });
  return answer.json();
}

/** Says what is wrong with one part, or that nothing is. */
export function tell(part, problem) {
  if (problem) problems.set(part, problem);
  else problems.delete(part);
  const text = [...new Set(problems.values())].join("; ");
  say(id("reason"), text);
  id("reason").hidden = !text;
}

/** Runs one part, which is tried again with the next look; whether it went well. */
export async function guarded(part) {
  try {
    await part();
    tell(part.name, "");
    return true;
  } catch (error) {
    tell(part.name, error.status ? error.message : "Millrace does not answer; trying again");
    return false;
  }
}
