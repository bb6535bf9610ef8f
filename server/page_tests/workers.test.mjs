// The list of machines that draw: there with a queue that several share, and not without. The mock server answers.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openPage, startBrowser, violations } from "./browser.mjs";
import { startMock } from "./mock.mjs";

let browser;
before(async () => {
  browser = await startBrowser();
});
after(() => browser?.close());

/** Runs a test on a page of its own; nothing may go wrong beside what it looks at. */
async function onPage(options, view, use, expected = /^$/) {
  const mock = await startMock(options);
  const { page, problems, close } = await openPage(browser, mock.url, view);
  try {
    await use(page);
    assert.deepEqual(problems.filter((line) => !expected.test(line)), []);
  } finally {
    await close();
    await mock.close();
  }
}

for (const [width, height] of [[1600, 1000], [380, 800]]) {
  for (const [locale, count, machine, heard] of [
    ["en-GB", "2 workers", "on attic", "heard of 2 s ago"],
    ["ru-RU", "2 машины", "на attic", "на связи 2 с назад"],
  ]) {
    test(`workers are listed with what they have and draw, ${width} px, ${locale}`, async () =>
      onPage({ shared: true }, { width, height, locale }, async (page) => {
        await page.getByRole("button", { name: count }).click();
        const dialog = page.locator("dialog[open]");
        await dialog.locator(".worker").nth(1).waitFor();
        const [first, second] = await dialog.locator(".worker").allInnerTexts();
        for (const words of ["attic-4711", machine, "cpu (avx2)", "demo", heard]) assert.ok(first.includes(words), `${words}: ${first}`);
        assert.match(first, /12.*4/);
        assert.match(first, /1[,\s\u00a0]234/);
        assert.ok(second.includes("vulkan, cpu (avx512)") && !second.includes("on cellar"), second);
        const parked = await dialog.locator(".parked").innerText();
        assert.ok(parked.includes("the job was handed to workers 3 times"), parked);
        assert.match(parked, /7.*1.*2026/);
        assert.deepEqual(await violations(page), []);
        assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= width, "it is too wide");
        assert.ok(await dialog.evaluate((element) => element.scrollWidth <= element.clientWidth), "the list is too wide");
        const out = process.env.SCREENSHOTS;
        if (out) {
          mkdirSync(out, { recursive: true });
          await page.screenshot({ path: join(out, `workers-${locale}-${width}.png`) });
        }
        await page.keyboard.press("Escape");
        await dialog.waitFor({ state: "detached" });
      }));
  }
}

test("a server that draws by itself shows nothing of it, and asks for nothing", async () =>
  onPage({}, {}, async (page) => {
    const asked = [];
    page.on("request", (request) => asked.push(request.url()));
    await page.reload();
    await page.waitForSelector(".top-end select");
    await page.waitForTimeout(200); // For what comes a moment later.
    assert.equal(await page.locator(".machines").count(), 0);
    assert.ok(!asked.some((url) => url.endsWith("/workers")), asked.join("\n"));
  }));

test("a broker that is away is told in the list", async () =>
  onPage({ shared: true }, {}, async (page) => {
    await page.route("**/api/v1/workers", (route) => {
      const error = { code: "failed", message: "nats://broker:4222: the workers cannot be listed" };
      return route.fulfill({ status: 500, contentType: "application/json", body: JSON.stringify({ error }) });
    });
    await page.getByRole("button", { name: "2 workers" }).click();
    await page.getByText("nats://broker:4222: the workers cannot be listed").waitFor();
    // What was known stays.
    assert.equal(await page.locator("dialog[open] .worker").count(), 2);
  }, /the server responded with a status of 500/));
