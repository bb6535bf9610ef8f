// How the page gets along with a server that asks for a key, fails, or goes away: always with the mock server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { openPage, startBrowser, violations } from "./browser.mjs";
import { startMock } from "./mock.mjs";

/** A mock server and a page of it, which end with the test. */
async function open(context, options, hash = "") {
  const mock = await startMock({ stepMs: 10, ...options });
  context.after(() => mock.close());
  const opened = await openPage(browser, mock.url + hash);
  context.after(() => opened.close());
  return { mock, ...opened };
}

let browser;
before(async () => {
  browser = await startBrowser();
});
after(() => browser?.close());

test("asks for the key that the server needs", async (context) => {
  const { page, problems } = await open(context, { key: "open sesame" });
  await page.getByLabel("Key").fill("wrong");
  await page.getByRole("button", { name: "Continue" }).click();
  await page.waitForSelector(".has-error");
  assert.deepEqual(await violations(page), []);
  await page.getByLabel("Key").fill("open sesame");
  await page.getByRole("button", { name: "Continue" }).click();
  await page.locator("textarea.prompt").first().fill("a red apple");
  await page.locator(".draw-button").click();
  await page.waitForSelector("figure.result");
  assert.deepEqual(problems.filter((line) => !line.includes("401")), []);
});

test("says why a job failed", async (context) => {
  const { page, problems } = await open(context, {});
  await page.locator("textarea.prompt").first().fill("this will fail");
  await page.locator(".draw-button").click();
  await page.waitForSelector(".job-problem");
  assert.match(await page.locator(".job-problem").innerText(), /needs 9.2 GB/);
  assert.deepEqual(await violations(page), []);
  await page.getByRole("button", { name: "Remove" }).click();
  await page.waitForSelector(".job-problem", { state: "detached" });
  assert.deepEqual(problems, []);
});

test("reads everything again when the server is back", async (context) => {
  const { mock, page } = await open(context, { images: 2 }, "#/gallery");
  await page.waitForFunction(() => document.querySelectorAll(".thumbnails li").length === 2);
  const port = Number(new URL(mock.url).port);
  await mock.close();
  await page.waitForSelector(".unreachable");
  assert.deepEqual(await violations(page), []);
  const again = await startMock({ stepMs: 10, images: 4, port });
  context.after(() => again.close());
  await page.waitForFunction(() => document.querySelectorAll(".thumbnails li").length === 4);
  await page.waitForSelector(".unreachable", { state: "detached" });
});

test("a page that was opened before its server finds it", async (context) => {
  const { page } = await open(context, {});
  await page.route("**/api/v1/info", (route) => route.abort());
  await page.reload();
  await page.waitForSelector(".unreachable");
  await page.unroute("**/api/v1/info");
  await page.waitForSelector(".unreachable", { state: "detached" });
});
