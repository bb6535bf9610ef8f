// The page in Chromium: a real model, drawn by the shaders on WebGPU.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createReadStream, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { after, before, test } from "node:test";
import { openPage, startBrowser, violations } from "../../server/page_tests/browser.mjs";

const { PAGE, LATENT } = process.env;
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".wasm": "application/wasm" };
const MINUTES = 60_000;

let server, browser, url, folder;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "latent-web-"));
  server = createServer((request, response) => {
    const path = join(PAGE, request.url === "/" ? "index.html" : new URL(request.url, "http://page").pathname);
    if (!statSync(path, { throwIfNoEntry: false })?.isFile()) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "application/octet-stream" });
    createReadStream(path).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${server.address().port}/`;
  // Chromium's own Vulkan driver on the CPU, which only a flag lets pages use.
  browser = await startBrowser(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]);
});

after(async () => {
  await browser?.close();
  server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The page, once a model is open. */
async function opened(options) {
  const tab = await openPage(browser, url, options);
  await ready(tab.page);
  return tab;
}

const ready = (page) => page.waitForSelector("#draw:not([disabled])", { timeout: 2 * MINUTES });

// Chromium's driver runs on the CPU and takes seconds for each compiled shader: a small image and few steps.
const SIDE = 32;

async function draw(page, { seed, steps, side = SIDE }) {
  for (const [id, value] of Object.entries({ prompt: "a red apple", seed, steps, width: side, height: side })) await page.fill(`#${id}`, String(value));
  await page.click("#draw");
}

const drawn = (page) => page.waitForFunction(() => document.getElementById("status").textContent.startsWith("Drawn"), null, { timeout: 8 * MINUTES });

/** The bytes of the canvas, or of a PNG: red, green, blue, alpha. */
const pixels = (page, png = null) =>
  page.evaluate(async (base64) => {
    const source = document.getElementById("canvas");
    const bytes = base64 && Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const image = bytes ? await createImageBitmap(new Blob([bytes], { type: "image/png" })) : source;
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return [...context.getImageData(0, 0, image.width, image.height).data];
  }, png?.toString("base64"));

test("the built-in model draws on WebGPU what the program draws on the CPU, and can be cancelled", { timeout: 12 * MINUTES }, async () => {
  const { page, problems, close } = await opened();
  assert.match(await page.textContent("#model"), /^built-in model: Stable Diffusion 1\.x, on .*f(32|16)$/);
  const previews = await page.evaluateHandle(() => {
    const seen = [];
    const caption = document.getElementById("caption");
    new MutationObserver(() => seen.push(caption.textContent)).observe(caption, { childList: true });
    return seen;
  });
  await draw(page, { seed: 42, steps: 2 });
  await drawn(page);
  assert.ok((await previews.jsonValue()).includes("Preview"), "a preview while it draws");
  assert.match(await page.textContent("#caption"), /^Seed 42, 32×32, /);

  const file = join(folder, "apple.png");
  const size = ["--width", String(SIDE), "--height", String(SIDE)];
  execFileSync(LATENT, ["txt2img", "a red apple", "--seed", "42", "--steps", "2", ...size, "--device", "cpu", "--precision", "f32", "-o", file]);
  const [here, there] = [await pixels(page), await pixels(page, readFileSync(file))];
  assert.equal(here.length, 4 * SIDE * SIDE);
  assert.equal(here.length, there.length);
  const worst = Math.max(...here.map((value, i) => Math.abs(value - there[i])));
  assert.ok(worst <= 2, `${worst} of 255`);
  assert.ok(new Set(there).size > 50, "an image of many colours");

  await draw(page, { seed: 1, steps: 500 });
  await page.waitForFunction(() => /^Step [1-9]/.test(document.getElementById("status").textContent), null, { timeout: 4 * MINUTES });
  await page.click("#cancel");
  await ready(page);
  assert.match(await page.textContent("#error"), /cancelled/i);
  assert.deepEqual(problems, []);
  await close();
});

test("a checkpoint on the disk is read by ranges, and a damaged one is refused in words", { timeout: 12 * MINUTES }, async () => {
  const { page, problems, close } = await opened();
  const whole = readFileSync(join(PAGE, "demo.safetensors"));
  const [good, bad] = [join(folder, "my model.safetensors"), join(folder, "damaged.safetensors")];
  writeFileSync(good, whole);
  writeFileSync(bad, whole.subarray(0, 1_000_000));
  await page.setInputFiles("#file", bad);
  await page.waitForSelector("#error:not([hidden])");
  assert.match(await page.textContent("#error"), /^damaged\.safetensors: /);
  assert.ok(await page.isDisabled("#draw"));

  await page.setInputFiles("#file", good);
  await ready(page);
  assert.match(await page.textContent("#model"), /^my model\.safetensors: Stable Diffusion 1\.x, /);
  const read = async () => {
    const told = await page.evaluate(() => ({ ...document.body.dataset }));
    return Object.fromEntries(Object.entries(told).map(([name, value]) => [name, Number(value)]));
  };
  const opening = await read();
  assert.ok(opening.readBytes < whole.length / 20, `${opening.readBytes} bytes to open it`);
  await draw(page, { seed: 1, steps: 1 });
  await drawn(page);
  const drawing = await read();
  assert.ok(drawing.reads > 300 && drawing.largestRead <= 1 << 20, JSON.stringify(drawing));
  assert.ok(drawing.readBytes > whole.length * 0.8, `${drawing.readBytes} bytes of weights`);
  assert.deepEqual(problems, []);
  await close();
});

test("the page is accessible, wide and narrow, light and dark", { timeout: 4 * MINUTES }, async () => {
  for (const [width, scheme] of [[380, "light"], [1600, "dark"]]) {
    const { page, problems, close } = await opened({ width, scheme });
    assert.deepEqual(await violations(page), []);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "nothing is wider than the page");
    assert.deepEqual(problems, []);
    await close();
  }
});
