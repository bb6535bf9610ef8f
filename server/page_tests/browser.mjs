// Opens the page in Chromium for the tests: of the server at BASE_URL, or of the mock server, which then starts by itself.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { startMock } from "./mock.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** The server to test. `mock` is null if it is a real one. */
export async function startServer(options) {
  const base = process.env.BASE_URL;
  if (base) return { url: base.endsWith("/") ? base : `${base}/`, mock: null, close: async () => {} };
  const mock = await startMock(options);
  return { url: mock.url, mock, close: mock.close };
}

export const startBrowser = (flags = []) =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", ...flags] });

/**
 * A page whose console and requests are watched.
 * @returns {Promise<{page: import("playwright-core").Page, problems: string[], close: () => Promise<void>}>}
 */
export async function openPage(browser, url, { width = 1600, height = 1000, scheme = "light", locale = "en-GB" } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, locale, hasTouch: width < 500, bypassCSP: false });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: new URL(url).origin });
  const page = await context.newPage();
  const problems = [];
  const host = new URL(url).host;
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(`console: ${message.text()} ${message.location().url}`));
  page.on("pageerror", (error) => problems.push(`error: ${error.stack ?? error.message}`));
  page.on("request", (request) => {
    const to = new URL(request.url());
    if (!["data:", "blob:"].includes(to.protocol) && to.host !== host) problems.push(`request to ${to.host}`);
  });
  await page.goto(url);
  await page.waitForSelector("main");
  return { page, problems, close: () => context.close() };
}

/** What axe-core finds wrong, in lines. */
export async function violations(page) {
  // Evaluated over the debugging protocol, which the page's content security policy does not stop.
  await page.evaluate(AXE);
  const { violations: found } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return found.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.target.join(" ")} ${node.failureSummary?.split("\n").slice(1, 3).join(" ")}`));
}
