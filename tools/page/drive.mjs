// Drives one headless Chromium: a command, as JSON, is a line of the standard input; its answer is a line of
// the standard output. What is to be expected of a page is for those who ask.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The packages lie in the folder of the cache where `make setup` installs them.
const require = createRequire(`${process.argv[2]}/`);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({
  executablePath: process.argv[3],
  chromiumSandbox: false,
  args: ["--disable-dev-shm-usage"],
});
let page;
let devtools;
let trouble = [];

async function evaluate(expression) {
  const { result, exceptionDetails } = await devtools.send("Runtime.evaluate", {
    expression,
    awaitPromise: true,
    returnByValue: true,
  });
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return result.value ?? null;
}

const commands = {
  /** A new page in a context of its own. A server's certificate may be its own; a token goes with every request. */
  async open({ url, width, height, scheme, token }) {
    await page?.context().close();
    const context = await browser.newContext({
      viewport: { width, height },
      colorScheme: scheme,
      reducedMotion: "reduce",
      ignoreHTTPSErrors: true,
      extraHTTPHeaders: token ? { authorization: `Bearer ${token}` } : {},
    });
    page = await context.newPage();
    devtools = await context.newCDPSession(page);
    trouble = [];
    page.on("console", (said) => ["error", "warning"].includes(said.type()) && trouble.push(`${said.type()}: ${said.text()}`));
    page.on("pageerror", (error) => trouble.push(`uncaught: ${error.message}`));
    page.on("requestfailed", (request) => trouble.push(`request: ${request.url()} ${request.failure()?.errorText}`));
    const answer = await page.goto(url);
    return answer.status();
  },
  /** Waits until an expression is true, and gives what it is. */
  async until({ expression, deadline }) {
    const end = Date.now() + deadline;
    let value = await evaluate(expression);
    while (!value) {
      if (Date.now() > end) throw new Error(`not so in time: ${expression}\n${await evaluate("document.body.innerText")}`);
      await new Promise((wait) => setTimeout(wait, 50));
      value = await evaluate(expression);
    }
    return value;
  },
  async evaluate({ expression }) {
    return evaluate(expression);
  },
  async press({ keys }) {
    for (const key of keys) await page.keyboard.press(key);
  },
  async type({ text }) {
    await page.keyboard.type(text);
  },
  /** What axe finds, one line each. */
  async axe() {
    await evaluate(`${axe}; null`);
    const found = await evaluate("axe.run(document, { resultTypes: ['violations'] }).then((all) => all.violations)");
    return found.map((one) => `${one.id}: ${one.help}: ${one.nodes.map((node) => `${node.html} ${node.failureSummary}`).join("; ")}`);
  },
  async screenshot({ path, full }) {
    await page.screenshot({ path, fullPage: full });
  },
  /** Errors and warnings of the console, and requests that failed. */
  async trouble() {
    return trouble;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...more } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: (await commands[command](more)) ?? null };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
