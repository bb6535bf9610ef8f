// The page in Chromium: what a person does on each tab. BASE_URL chooses the server, otherwise the mock server is used; with a
// real server, MODELS_DIR names one of its model folders. SCREENSHOTS names a folder for images of the tabs.
import assert from "node:assert/strict";
import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { openPage, startBrowser, startServer, violations } from "./browser.mjs";
import { landscape, png } from "./mock-images.mjs";

const WIDE = { width: 1600, height: 1000 };
const PHONE = { width: 380, height: 800 };
const TABS = ["draw", "change", "gallery", "models", "plots"];
const folder = mkdtempSync(join(tmpdir(), "latent-page-"));
let server;
let browser;

before(async () => {
  server = await startServer({ stepMs: 25 });
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a test on a page of its own; nothing may go wrong beside what it looks at. */
async function onPage(hash, view, use) {
  const { page, problems, close } = await openPage(browser, server.url + hash, view);
  try {
    await use(page);
    assert.deepEqual(problems, []);
  } finally {
    await close();
  }
}

async function shot(page, name) {
  const out = process.env.SCREENSHOTS;
  if (!out) return;
  mkdirSync(out, { recursive: true });
  await page.screenshot({ path: join(out, `${name}.png`) });
}

const prompt = (page) => page.locator("textarea.prompt").first();
const drawButton = (page) => page.locator(".draw-button");
const openSettings = async (page) => {
  const fold = page.locator(".side-scroll > .folds > details > summary");
  if (await fold.count()) await fold.first().click();
};
/** A number field by its label. */
const field = (page, label) => page.locator(".side").getByLabel(label, { exact: true }).locator("visible=true").and(page.locator("input[type=number]"));

/** Draws, and waits for the result. */
async function draw(page, text) {
  await prompt(page).fill(text);
  await drawButton(page).click();
  await page.waitForSelector("figure.result, .stage .batch button");
}

/** An image file of AUTOMATIC1111's webui. */
const foreignImage = () =>
  png(96, 64, landscape(96, 64, 5), { parameters: "a blue boat\nNegative prompt: rain\nSteps: 12, Sampler: Euler a, CFG scale: 5.5, Seed: 4711, Size: 96x64, Model: boats" });

/** Drops a file in the middle of the page, as a mouse would. */
const drop = (page, name, type, bytes) =>
  page.evaluate(
    ([file, kind, data]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(data)], file, { type: kind }));
      for (const event of ["dragenter", "dragover", "drop"]) {
        document.querySelector("main").dispatchEvent(new DragEvent(event, { bubbles: true, cancelable: true, dataTransfer: transfer }));
      }
    },
    [name, type, [...bytes]],
  );

for (const view of [WIDE, PHONE]) {
  const at = `at ${view.width} pixels`;

  // As many steps as a busy machine needs to show some of them.
  test(`draws with previews ${at}`, async () =>
    onPage("#/draw?steps=100", view, async (page) => {
      await page.evaluate(() => {
        window.previews = new Set();
        new MutationObserver(() => {
          const src = document.querySelector("img.live")?.src;
          if (src) window.previews.add(src);
        }).observe(document.body, { subtree: true, childList: true, attributes: true });
      });
      await draw(page, "a red apple");
      await page.waitForFunction(() => window.previews.size >= 3);
      await page.waitForFunction(() => !document.querySelector("img.live") && document.querySelector("figure.result img")?.naturalWidth > 0);
      assert.match(page.url(), /#\/draw\?.*prompt=a\+red\+apple/);
      await shot(page, `draw-${view.width}`);
    }));

  test(`cancels ${at}`, async () =>
    onPage("", view, async (page) => {
      await prompt(page).fill("a yellow star");
      await openSettings(page);
      await field(page, "Steps").fill("300");
      for (let n = 0; n < 3; n += 1) await page.getByRole("button", { name: "More images" }).click();
      await drawButton(page).click();
      await page.waitForSelector("img.live");
      await shot(page, `running-${view.width}`);
      await page.getByRole("button", { name: "Cancel" }).click();
      await page.waitForSelector(".job-live", { state: "detached" });
      await page.waitForSelector(".queue", { state: "detached" });
    }));

  test(`inpaints under a mask that was brushed ${at}`, async () =>
    onPage("#/change/inpaint", view, async (page) => {
      await page.locator(".side input[type=file]").setInputFiles({ name: "photo.png", mimeType: "image/png", buffer: png(96, 64, landscape(96, 64, 3)) });
      const canvas = page.locator("canvas.mask");
      await canvas.scrollIntoViewIfNeeded();
      const box = await canvas.boundingBox();
      const brush = async (from, to) => {
        await page.mouse.move(box.x + box.width * from, box.y + box.height * 0.5);
        await page.mouse.down();
        await page.mouse.move(box.x + box.width * to, box.y + box.height * 0.5, { steps: 6 });
        await page.mouse.up();
      };
      await brush(0.2, 0.6);
      await brush(0.7, 0.9);
      await page.getByRole("button", { name: "Undo", exact: true }).click();
      await shot(page, `inpaint-${view.width}`);
      const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/jobs"));
      await prompt(page).fill("a boat");
      await drawButton(page).click();
      const { verb, options } = (await sent).postDataJSON();
      assert.equal(verb, "inpaint");
      assert.ok(options.image.base64);
      const painted = await page.evaluate(async (data) => {
        const image = new Image();
        image.src = `data:image/png;base64,${data}`;
        await image.decode();
        const surface = new OffscreenCanvas(image.width, image.height).getContext("2d", { willReadFrequently: true });
        surface.drawImage(image, 0, 0);
        const pixel = (x, y) => surface.getImageData(x * image.width, y * image.height, 1, 1).data[0];
        return { size: [image.width, image.height], values: [pixel(0.4, 0.5), pixel(0.8, 0.5), pixel(0.4, 0.05)] };
      }, options.mask.base64);
      assert.deepEqual(painted, { size: [96, 64], values: [255, 0, 0] });
      await page.waitForSelector("figure.result");
      await page.getByRole("button", { name: "Compare" }).click();
      await page.waitForSelector(".compare");
      await shot(page, `compare-${view.width}`);
    }));

  test(`outpaints past an edge that was dragged ${at}`, async () =>
    onPage("#/change/outpaint", view, async (page) => {
      await page.locator(".side input[type=file]").setInputFiles({ name: "photo.png", mimeType: "image/png", buffer: png(64, 64, landscape(64, 64, 3)) });
      const edge = page.getByRole("slider", { name: "Edge: Right" });
      await edge.scrollIntoViewIfNeeded();
      const box = await edge.boundingBox();
      await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width / 2 + 40, box.y + box.height / 2, { steps: 5 });
      await page.mouse.up();
      assert.ok(Number(await edge.getAttribute("aria-valuenow")) >= 8);
      const top = page.getByRole("slider", { name: "Edge: Top" });
      await top.focus();
      await page.keyboard.press("ArrowUp");
      assert.equal(await top.getAttribute("aria-valuenow"), "8");
      await shot(page, `outpaint-${view.width}`);
      const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/jobs"));
      await prompt(page).fill("hills");
      await drawButton(page).click();
      const { verb, options } = (await sent).postDataJSON();
      assert.equal(verb, "outpaint");
      assert.equal(options.top, 8);
      assert.equal(options.right % 8, 0);
      await page.waitForSelector("figure.result");
    }));

  test(`searches the gallery, and replays ${at}`, async () =>
    onPage("", view, async (page) => {
      const name = `a crescent moon ${view.width}`;
      await draw(page, name);
      await page.getByRole("link", { name: "Gallery" }).click();
      await page.waitForSelector(".thumbnails li");
      await page.getByRole("searchbox").fill(name);
      await page.waitForFunction(() => document.querySelectorAll(".thumbnails li").length === 1);
      await page.getByRole("searchbox").fill("nothing is called so");
      await page.waitForSelector(".page .empty");
      await page.getByRole("searchbox").fill(name);
      await page.locator(".thumbnails button").click();
      await page.waitForSelector("dialog[open] dl.metadata");
      await shot(page, `viewer-${view.width}`);
      await page.locator("dialog").getByRole("button", { name: "Vary" }).click();
      const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/jobs"));
      await page.getByRole("menuitem", { name: "Draw exactly again" }).click();
      const { verb, options } = (await sent).postDataJSON();
      assert.equal(verb, "replay");
      assert.ok(options.image.image);
      await page.waitForSelector("figure.result");
    }));

  for (const scheme of ["light", "dark"]) {
    test(`is accessible and fits, ${scheme}, ${at}`, async () =>
      onPage("", { ...view, scheme }, async (page) => {
        for (const tab of TABS) {
          await page.goto(`${server.url}#/${tab}`);
          await page.waitForFunction((name) => document.querySelector(`nav a[href="#/${name}"]`)?.getAttribute("aria-current") === "page", tab);
          await page.waitForTimeout(200); // For images and texts that come a moment later.
          if (tab === "models") await page.locator(".model-row").first().click();
          if (tab === "models") await page.waitForSelector(".tree");
          assert.deepEqual(await violations(page), [], tab);
          assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= view.width, `${tab} is too wide`);
          await page.evaluate(() => window.scrollTo(0, 0));
          await shot(page, `${tab}-${scheme}-${view.width}`);
        }
      }));
  }
}

test("a batch is a grid, and its images have settings to use", async () =>
  onPage("", WIDE, async (page) => {
    await page.getByRole("button", { name: "More images" }).click();
    await page.getByRole("button", { name: "More images" }).click();
    await draw(page, "a blue book");
    await page.waitForFunction(() => document.querySelectorAll(".stage .batch button").length === 3);
    await shot(page, "batch");
    await page.locator(".stage .batch button").nth(1).click();
    await prompt(page).fill("something else");
    await page.getByRole("button", { name: "Use settings" }).click();
    await page.waitForFunction(() => document.querySelector("textarea.prompt").value === "a blue book");
    assert.match(await page.locator("input[placeholder=random]").inputValue(), /^\d+$/);
  }));

test("settings are in the address", async () =>
  onPage("#/draw?prompt=a+cat&steps=7&seed=11&hires=true&lora=ink%3A0.5", WIDE, async (page) => {
    assert.equal(await prompt(page).inputValue(), "a cat");
    assert.equal(await field(page, "Steps").inputValue(), "7");
    assert.equal(await page.locator(".lora output").innerText(), "0.50");
    await field(page, "Steps").fill("9");
    await page.waitForFunction(() => location.hash.includes("steps=9") && location.hash.includes("lora=ink%3A0.5"));
    await page.getByRole("button", { name: "Reset Steps" }).click();
    await page.waitForFunction(() => !location.hash.includes("steps="));
  }));

test("errors are told at their field, or at the button if the page does not show it", async () =>
  onPage("", WIDE, async (page) => {
    await page.evaluate(() => {
      const real = window.fetch;
      window.refuse = (field) => {
        const error = { code: "bad_input", message: `${field} is wrong`, field };
        window.fetch = (url, rest) =>
          rest?.method === "POST" && String(url).endsWith("/jobs") ? Promise.resolve(new Response(JSON.stringify({ error }), { status: 400 })) : real(url, rest);
      };
      window.refuse("s-noise");
    });
    await prompt(page).fill("a cat");
    await page.keyboard.press("Control+Enter");
    const error = page.locator(".field.has-error");
    await error.waitFor({ state: "visible" });
    assert.match(await error.innerText(), /Noise factor[\s\S]*is wrong/);
    await page.waitForFunction(() => document.activeElement.matches('[aria-invalid="true"]'));
    assert.deepEqual(await violations(page), []);
    await page.evaluate(() => window.refuse("device"));
    await drawButton(page).click();
    await page.locator(".draw-bar .message.error", { hasText: "device is wrong" }).waitFor();
  }));

test("emphasis by keyboard, and the number of tokens", async () =>
  onPage("", WIDE, async (page) => {
    await prompt(page).fill("a red apple");
    await page.waitForSelector(".tokens");
    await prompt(page).evaluate((area) => area.setSelectionRange(2, 5));
    await page.keyboard.press("Control+ArrowUp");
    await page.keyboard.press("Control+ArrowUp");
    assert.equal(await prompt(page).inputValue(), "a (red:1.2) apple");
  }));

test("a dropped model file is answered from its header", async () =>
  onPage("#/models", WIDE, async (page) => {
    const SIZE = 7e9;
    const header = { __metadata__: { format: "pt", ss_network_dim: "4" } };
    let end = 0;
    const add = (name, shape) => {
      const bytes = shape.reduce((product, side) => product * side, 2);
      header[name] = { dtype: "F16", shape, data_offsets: [end, (end += bytes)] };
    };
    for (let n = 0; n < 1500; n += 1) {
      add(`lora_unet_down_blocks_${n % 4}_attentions_${n}_to_q.lora_down.weight`, [4, 64]);
      add(`lora_unet_down_blocks_${n % 4}_attentions_${n}_to_q.lora_up.weight`, [64, 4]);
    }
    add("lora_unet_rest.lora_up.weight", [(SIZE - end) / 2]);
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    const path = join(folder, "large.safetensors");
    const file = openSync(path, "w");
    writeSync(file, Buffer.concat([length, json]));
    ftruncateSync(file, 8 + json.length + end);
    closeSync(file);

    const sent = page.waitForRequest((request) => request.url().includes("/inspect?"));
    await page.locator(".models-left input[type=file]").setInputFiles(path);
    const request = await sent;
    assert.equal(new URL(request.url()).searchParams.get("bytes"), String(8 + json.length + end));
    await page.waitForSelector(".what");
    assert.match(await page.locator(".what").innerText(), /LoRA/);
    assert.match(await page.locator(".tensors h3").innerText(), /3,001/);
    assert.match(await page.locator(".model-metadata").innerText(), /ss_network_dim\s+4/);
    await page.getByRole("searchbox").fill("attentions_77_ up");
    await page.waitForFunction(() => document.querySelectorAll(".tree-row.match").length === 1);
    await page.getByRole("searchbox").fill("");
    const row = page.locator(".tree-row").first();
    await row.focus();
    await page.keyboard.press("ArrowDown");
    await shot(page, "inspect");
  }));

test("a file that is not a model says so", async () =>
  onPage("", WIDE, async (page) => {
    await drop(page, "broken.safetensors", "", Buffer.from("not a model at all"));
    await page.waitForSelector(".inspection .message.error");
    await drop(page, "notes.txt", "text/plain", Buffer.from("text"));
    await page.waitForSelector(".toast.error");
  }));

for (const tab of ["gallery", "draw"]) {
  test(`an image of another program that is dropped on ${tab} shows its settings`, async () =>
    onPage(`#/${tab}`, WIDE, async (page) => {
      await drop(page, "boat.png", "image/png", foreignImage());
      await page.waitForSelector("dialog[open]");
      const text = await page.locator("dialog").innerText();
      for (const part of ["a blue boat", "4711", "5.5"]) assert.ok(text.includes(part), `${part} in ${text}`);
      assert.deepEqual(await violations(page), []);
      await shot(page, `dropped-${tab}`);
      await page.locator("dialog").getByRole("button", { name: "Use settings" }).click();
      await page.waitForFunction(() => document.querySelector("textarea.prompt")?.value === "a blue boat");
      assert.equal(await field(page, "Steps").inputValue(), "12");
    }));
}

test("an image that is pasted can be changed", async () =>
  onPage("#/gallery", WIDE, async (page) => {
    await page.evaluate((data) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(data)], "image.png", { type: "image/png" }));
      document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
    }, [...foreignImage()]);
    await page.waitForSelector(".bench .result img");
    assert.match(page.url(), /#\/change/);
  }));

test("an image is redrawn at its own size or another, and enlarged", async () =>
  onPage("#/change/img2img", WIDE, async (page) => {
    await page.locator(".side input[type=file]").setInputFiles({ name: "photo.png", mimeType: "image/png", buffer: png(96, 64, landscape(96, 64, 3)) });
    await page.waitForSelector(".bench .result img");
    const submitted = async () => {
      const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/jobs"));
      await drawButton(page).click();
      return (await sent).postDataJSON();
    };
    await prompt(page).fill("a boat");
    await field(page, "Width").fill("128");
    const redraw = await submitted();
    assert.equal(redraw.verb, "img2img");
    assert.equal(redraw.options.width, 128);
    assert.ok(redraw.options.height % 8 === 0);
    await page.waitForSelector("figure.result");
    await page.locator(".segmented label", { hasText: "Upscale" }).click();
    const upscale = await submitted();
    assert.equal(upscale.verb, "upscale");
    assert.deepEqual(Object.keys(upscale.options).sort(), ["image", "model", "scale"]);
    await page.waitForFunction(() => document.querySelectorAll(".strip .tile img").length >= 2);
  }));

/** Looks at an image and deletes it, once all of it has come: what is still asked for then would be answered with an error. */
async function deleteImage(page, thumbnail) {
  await thumbnail.click();
  await page.waitForSelector("dialog[open] dl.metadata");
  for (const image of [thumbnail, page.locator("dialog[open] .viewer-image")]) await image.locator("img").evaluate((each) => each.decode());
  await page.locator("dialog").getByRole("button", { name: "Delete" }).click();
}

test("deleting can be undone", async () =>
  onPage("", WIDE, async (page) => {
    await draw(page, "a green square to delete");
    await page.getByRole("link", { name: "Gallery" }).click();
    await page.getByRole("searchbox").fill("square to delete");
    const areFound = () => {
      const found = [...document.querySelectorAll(".thumbnails button")];
      return found.length > 0 && found.every((each) => each.ariaLabel.includes("to delete"));
    };
    await page.waitForFunction(areFound);
    const before = await page.locator(".thumbnails li").count();
    await deleteImage(page, page.locator(".thumbnails button").first());
    await page.waitForFunction((count) => document.querySelectorAll(".thumbnails li").length === count - 1, before);
    if (before > 1) await page.locator("dialog").getByRole("button", { name: "Close" }).click();
    await page.getByRole("button", { name: "Undo" }).click();
    await page.waitForFunction((count) => document.querySelectorAll(".thumbnails li").length === count, before);
  }));

test("what is deleted while a search is under way stays gone", async () =>
  onPage("", WIDE, async (page) => {
    await draw(page, "a blue square that goes");
    await page.getByRole("link", { name: "Gallery" }).click();
    const named = page.locator('.thumbnails button[aria-label="a blue square that goes"]');
    await named.first().waitFor();
    let release;
    const released = new Promise((resolve) => (release = resolve));
    let answered;
    const isAnswered = new Promise((resolve) => (answered = resolve));
    await page.route("**/api/v1/images?*", async (route) => {
      const response = await route.fetch();
      answered();
      await released;
      await route.fulfill({ response }).catch(() => {}); // The page may have given it up.
    });
    await page.getByRole("searchbox").fill("square that goes");
    await isAnswered;
    await deleteImage(page, named.first());
    await named.waitFor({ state: "detached" });
    const search = page.waitForResponse((response) => response.url().includes("/api/v1/images?"));
    release();
    await search;
    await page.locator(".empty").waitFor();
    assert.equal(await named.count(), 0);
  }));

test("a plot is drawn from its axes", async () =>
  onPage("#/plots", WIDE, async (page) => {
    const axes = page.locator(".axis");
    await axes.nth(0).getByLabel("Values").fill("2-4 (+1)");
    await axes.nth(1).locator("select").selectOption("sampler");
    await axes.nth(1).locator(".chip").nth(0).click();
    await axes.nth(1).locator(".chip").nth(1).click();
    assert.equal(await page.locator(".plot-count").innerText(), "6 images");
    await shot(page, "plot");
    const sent = page.waitForRequest((request) => request.method() === "POST" && request.url().endsWith("/jobs"));
    await prompt(page).fill("a red heart");
    await drawButton(page).click();
    const { verb, options } = (await sent).postDataJSON();
    assert.equal(verb, "grid");
    assert.deepEqual(options.x, { option: "steps", values: ["2", "3", "4"] });
    assert.equal(options.y.values.length, 2);
    await page.waitForSelector("figure.result");
  }));

test("the language changes at once and stays", async () =>
  onPage("", WIDE, async (page) => {
    await page.locator("select.language").selectOption("ru");
    await page.getByRole("link", { name: "Галерея" }).waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.lang), "ru");
    await page.reload();
    await page.getByRole("link", { name: "Галерея" }).waitFor();
  }));

test("a model that is put into a folder appears by itself", async (context) => {
  const put = () => {
    if (server.mock) return server.mock.addModel({ name: "arrived", path_in_folder: "arrived.safetensors", bytes: 9e6, kind: "lora", base: "sd1", family_label: "Stable Diffusion 1.x", draws: false, verbs: [] });
    const json = Buffer.from(JSON.stringify({ "lora_unet_mid_block_attentions_0_to_q.lora_up.weight": { dtype: "F16", shape: [4, 4], data_offsets: [0, 32] } }));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    const path = join(process.env.MODELS_DIR, "arrived.safetensors");
    context.after(() => rmSync(path, { force: true }));
    return writeFileSync(path, Buffer.concat([length, json, Buffer.alloc(32)]));
  };
  assert.ok(server.mock || process.env.MODELS_DIR, "MODELS_DIR names a model folder of the server");
  await onPage("#/models", WIDE, async (page) => {
    await page.waitForSelector(".model-row");
    put();
    await page.locator(".model-name", { hasText: "arrived" }).waitFor();
  });
});
