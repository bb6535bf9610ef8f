// A server that speaks Latent's API without drawing: for work on the page, and for its tests. `node mock.mjs [PORT]`.
// Variables: MOCK_STEP_MS, how long a step takes; MOCK_KEY, a key that it asks for.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { gzipSync } from "node:zlib";
import { PAGE } from "./source.mjs";
import { info, inspect, modelHeader, models, sharedQueue } from "./mock-data.mjs";
import { landscape, png, readPng } from "./mock-images.mjs";

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".json": "application/json", ".svg": "image/svg+xml" };
const CSP = "default-src 'self'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

class Refusal extends Error {
  constructor(status, code, message, field) {
    super(message);
    Object.assign(this, { status, code, field });
  }
}

/** Starts one. @returns {Promise<{url: string, close: () => Promise<void>, addModel: (model: object) => void}>} */
export async function startMock({ port = 0, stepMs = Number(process.env.MOCK_STEP_MS ?? 120), key = process.env.MOCK_KEY ?? null, images: count = 9, shared = false } = {}) {
  const state = { jobs: [], images: [], trash: new Map(), streams: new Map(), all: new Set(), next: 1, models: [...models], busy: false };
  const send = (stream, name, data) => stream.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  const broadcast = (name, data) => state.all.forEach((stream) => send(stream, name, data));
  const queued = () => state.jobs.filter((job) => job.state === "queued");
  const publicJob = ({ options, cancelled, ...job }) => ({ ...job, position: job.state === "queued" ? queued().indexOf(state.jobs.find((each) => each.id === job.id)) + 1 : null });
  const report = (job, name, data) => (state.streams.get(job.id) ?? []).forEach((stream) => send(stream, name, data));
  const changed = (job, name = "state") => {
    const shown = publicJob(job);
    report(job, name, shown);
    broadcast("job", shown);
    broadcast("queue", { queued: queued().length, running: state.jobs.filter((each) => each.state === "running").length });
    if (name !== "state") (state.streams.get(job.id) ?? []).forEach((stream) => stream.end());
  };

  function addImage(options, seed, width, height, created = new Date().toISOString(), job = null) {
    const name = `${(options.prompt ?? "image").replace(/[^\w]+/g, "-").slice(0, 40)}-${seed}-${state.next}.png`;
    state.next += 1;
    const settings = { steps: options.steps ?? 20, cfg_scale: options.cfg_scale ?? 7, sampler: options.sampler ?? "dpm++2m", scheduler: "karras", seed, width, height, model: options.model ?? "demo" };
    const latent = JSON.stringify({ prompt: options.prompt ?? "", negative_prompt: options.negative_prompt ?? "", settings, job: { verb: "txt2img", options: { ...options, image: undefined, mask: undefined, seed, width, height } } });
    const bytes = png(width, height, landscape(width, height, seed), { latent });
    const shown = { name, url: `/api/v1/images/${encodeURIComponent(name)}`, thumbnail: `/api/v1/images/${encodeURIComponent(name)}/thumbnail`, width, height, bytes: bytes.length, created, prompt: options.prompt ?? "", negative_prompt: options.negative_prompt ?? "", model: settings.model, seed, steps: settings.steps, sampler: settings.sampler, cfg_scale: settings.cfg_scale, job };
    state.images.unshift({ shown, bytes, settings });
    return shown;
  }

  async function draw(job) {
    const { options } = job;
    const number = (value, fallback) => (value === undefined ? fallback : Number(value));
    const own = state.models.find((model) => model.name === (options.model ?? "demo"))?.defaults ?? { width: 256, height: 256, steps: 20 };
    const source = options.image?.image && state.images.find((image) => image.shown.name === options.image.image)?.shown;
    const grow = (a, b) => number(options[a], 0) + number(options[b], 0);
    let width = number(options.width, source?.width ?? own.width) + grow("left", "right");
    let height = number(options.height, source?.height ?? own.height) + grow("top", "bottom");
    if (job.verb === "upscale") [width, height] = [width * Number(options.scale), height * Number(options.scale)];
    Object.assign(job, { state: "running", started: new Date().toISOString(), stage: "loading", steps: number(options.steps, own.steps), step: 0, progress: 0 });
    changed(job);
    report(job, "loading", { component: "UNet", read: 12e6, total: 39e6 });
    await wait(stepMs);
    if ((options.prompt ?? "").includes("fail")) {
      Object.assign(job, { state: "failed", finished: new Date().toISOString(), error: { code: "failed", message: "the model needs 9.2 GB, but 3.1 GB of memory are free: draw a smaller image, or set low-memory" } });
      return changed(job, "failed");
    }
    const batch = number(options.batch_count, 1);
    for (let n = 0; n < batch; n += 1) {
      const seed = (job.seed + n) >>> 0;
      for (let step = 1; step <= job.steps; step += 1) {
        await wait(stepMs);
        if (job.cancelled) return undefined;
        const progress = (n + step / job.steps) / batch;
        Object.assign(job, { stage: "sampling", step, progress, eta_seconds: ((1 - progress) * batch * job.steps * stepMs) / 1000 });
        report(job, "progress", { stage: "sampling", step, steps: job.steps, progress, eta_seconds: job.eta_seconds });
        const small = 96 / Math.max(width, height);
        const [w, h] = [Math.round(width * small), Math.round(height * small)];
        report(job, "preview", { image: `data:image/png;base64,${png(w, h, landscape(w, h, seed, 1 - step / job.steps)).toString("base64")}`, step });
      }
      const image = addImage(options, seed, width, height, undefined, job.id);
      job.images.push(image);
      report(job, "image", image);
      broadcast("gallery", { added: [image], removed: [] });
    }
    Object.assign(job, { state: "done", progress: 1, eta_seconds: null, finished: new Date().toISOString() });
    return changed(job, "done");
  }

  async function work() {
    if (state.busy) return;
    state.busy = true;
    for (let job = queued()[0]; job; job = queued()[0]) await draw(job);
    state.busy = false;
  }

  function submit({ verb, options }) {
    const steps = Number(options.steps ?? 20);
    if (!(steps >= 1 && steps <= info.limits.max_steps)) throw new Refusal(400, "bad_input", `steps must be between 1 and ${info.limits.max_steps}, not ${options.steps}`, "steps");
    if (verb === "txt2img" && !options.prompt) throw new Refusal(400, "bad_input", "a prompt is needed: say what to draw", "prompt");
    if (verb === "inpaint" && !options.mask?.base64) throw new Refusal(400, "bad_input", "a mask is needed: paint what is to be drawn anew", "mask");
    if (options.image?.base64 && !readPng(Buffer.from(options.image.base64, "base64"))) throw new Refusal(400, "bad_input", "the image cannot be read", "image");
    if (queued().length >= info.limits.queue.max_jobs) throw new Refusal(429, "queue_full", "the queue is full");
    const seed = options.seed === undefined || Number(options.seed) < 0 ? Math.floor(Math.random() * 2 ** 32) : Number(options.seed);
    const job = { id: `j${state.next}`, verb, state: "queued", created: new Date().toISOString(), started: null, finished: null, prompt: options.prompt ?? "", model: options.model ?? "demo", stage: null, step: 0, steps: 0, progress: 0, eta_seconds: null, images: [], warnings: [], error: null, seed, api: "latent", options };
    state.next += 1;
    state.jobs.push(job);
    changed(job);
    work();
    return { id: job.id, state: "queued", position: publicJob(job).position, eta_seconds: null, verb };
  }

  function metadata(bytes) {
    const read = readPng(bytes);
    if (!read) throw new Refusal(400, "bad_input", "the file is not an image");
    const base = { program: null, prompt: "", negative_prompt: "", settings: {}, not_followed: [], job: null, replayable: false, text: "" };
    if (read.texts.latent) return { ...base, ...JSON.parse(read.texts.latent), program: "latent 0.1.0", replayable: true, text: JSON.stringify(JSON.parse(read.texts.latent), null, 1) };
    const text = read.texts.parameters;
    if (!text) return base;
    const [prompt, ...rest] = text.split("\n");
    const fields = Object.fromEntries([...text.matchAll(/(Steps|Seed|CFG scale|Sampler|Size|Model): ([^,\n]+)/g)].map((match) => [match[1], match[2]]));
    const [width, height] = (fields.Size ?? "").split("x").map(Number);
    const settings = { steps: Number(fields.Steps), seed: Number(fields.Seed), cfg_scale: Number(fields["CFG scale"]), sampler: "euler_a", width, height };
    return { ...base, program: "AUTOMATIC1111", prompt, negative_prompt: rest.find((line) => line.startsWith("Negative"))?.slice(17) ?? "", settings, not_followed: ["Face restoration"], job: { verb: "txt2img", options: { prompt, ...settings } }, replayable: true, text };
  }

  function remove(name) {
    const at = state.images.findIndex((image) => image.shown.name === name);
    if (at < 0) throw new Refusal(404, "not_found", `the gallery has no image ${name}`);
    const [image] = state.images.splice(at, 1);
    const undo = `u${state.next++}`;
    state.trash.set(undo, image);
    broadcast("gallery", { added: [], removed: [name] });
    return { undo };
  }

  function find(query) {
    const text = (query.get("q") ?? "").toLowerCase();
    const match = ({ shown }) => shown.prompt.toLowerCase().includes(text) && (!query.get("model") || shown.model === query.get("model")) && (!query.get("seed") || String(shown.seed) === query.get("seed"));
    const found = state.images.filter(match).map((image) => image.shown);
    const offset = Number(query.get("offset") ?? 0);
    return { images: found.slice(offset, offset + Number(query.get("limit") ?? 50)), total: found.length };
  }

  function events(request, response, job) {
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    response.write(": hello\n\n");
    const list = job ? state.streams.get(job.id) ?? [] : state.all;
    if (job) {
      send(response, "state", publicJob(job));
      if (["done", "failed", "cancelled"].includes(job.state)) {
        send(response, job.state, publicJob(job));
        response.end();
        return undefined;
      }
      state.streams.set(job.id, [...list, response]);
    } else list.add(response);
    request.on("close", () => (job ? state.streams.set(job.id, (state.streams.get(job.id) ?? []).filter((each) => each !== response)) : list.delete(response)));
    return undefined;
  }

  const imageNamed = (name) => {
    const image = state.images.find((each) => each.shown.name === name);
    if (!image) throw new Refusal(404, "not_found", `the gallery has no image ${name}`);
    return image;
  };
  const jobNamed = (id) => {
    const job = state.jobs.find((each) => each.id === id);
    if (!job) throw new Refusal(404, "not_found", `there is not a job ${id}`);
    return job;
  };

  /** What a path of the API answers: data for JSON, bytes for an image, undefined if it answers by itself. */
  function api(request, response, url, body) {
    const [kind, name, part] = url.pathname.slice("/api/v1/".length).split("/").map(decodeURIComponent);
    const json = () => JSON.parse(body.toString() || "{}");
    const route = `${request.method} ${kind}`;
    if (route === "GET info") return { ...info, shared_queue: shared };
    if (route === "GET workers") return shared ? sharedQueue : { workers: [], parked: [] };
    if (route === "GET events") return events(request, response, null);
    if (route === "GET models" && part === "inspect") return inspect(name, 2132650982, modelHeader());
    if (route === "GET models") return { models: state.models };
    if (route === "POST jobs") return [202, submit(json())];
    if (route === "GET jobs" && part === "events") return events(request, response, jobNamed(name));
    if (route === "GET jobs" && name) return publicJob(jobNamed(name));
    if (route === "GET jobs") return { jobs: state.jobs.toReversed().slice(0, Number(url.searchParams.get("limit") ?? 50)).map(publicJob), queued: queued().length, running: state.jobs.filter((job) => job.state === "running").length };
    if (route === "DELETE jobs") {
      const job = jobNamed(name);
      if (job.finished) throw new Refusal(409, "finished", "the job has ended already");
      Object.assign(job, { cancelled: true, state: "cancelled", finished: new Date().toISOString() });
      changed(job, "cancelled");
      return publicJob(job);
    }
    if (route === "POST images" && name === "restore") {
      const image = state.trash.get(json().undo);
      state.images.unshift(image);
      broadcast("gallery", { added: [image.shown], removed: [] });
      return image.shown;
    }
    if (route === "GET images" && part === "metadata") return metadata(imageNamed(name).bytes);
    if (route === "GET images" && name) return imageNamed(name).bytes;
    if (route === "GET images") return find(url.searchParams);
    if (route === "DELETE images") return remove(name);
    if (route === "POST metadata") return metadata(body);
    if (route === "POST tokens") {
      const tokens = (json().prompt.match(/\w+|[^\s\w]/g) ?? []).length;
      return { tokens, chunks: Math.max(1, Math.ceil(tokens / 75)), chunk_size: 75, truncated: false, pieces: [] };
    }
    if (route === "POST inspect") return inspect(url.searchParams.get("name"), Number(url.searchParams.get("bytes")), JSON.parse(body.subarray(8).toString()));
    throw new Refusal(404, "not_found", `${url.pathname} is unknown`);
  }

  async function page(response, path) {
    const file = normalize(path === "/" ? "/index.html" : path);
    const bytes = await readFile(join(PAGE, file)).catch(() => null);
    if (!bytes) throw new Refusal(404, "not_found", `${path} is unknown`);
    response.writeHead(200, { "Content-Type": TYPES[extname(file)] ?? "text/plain", "Content-Security-Policy": CSP, "Content-Encoding": "gzip", "Cache-Control": "no-cache" });
    response.end(gzipSync(bytes));
  }

  async function answer(request, response) {
    const url = new URL(request.url, "http://mock");
    if (!url.pathname.startsWith("/api/")) return page(response, url.pathname);
    const parts = [];
    for await (const each of request) parts.push(each);
    const body = Buffer.concat(parts);
    if (key && url.pathname === "/api/v1/login") {
      if (JSON.parse(body).key !== key) throw new Refusal(401, "unauthorized", "the key is wrong");
      response.setHeader("Set-Cookie", "latent_session=s; HttpOnly; SameSite=Strict; Path=/");
      return response.end("{}");
    }
    if (key && !(request.headers.cookie ?? "").includes("latent_session=s")) throw new Refusal(401, "unauthorized", "a key is needed");
    const result = api(request, response, url, body);
    if (result === undefined) return undefined;
    if (Buffer.isBuffer(result)) return response.writeHead(200, { "Content-Type": "image/png" }).end(result);
    const [status, data] = Array.isArray(result) ? result : [200, result];
    return response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(data));
  }

  const server = createServer((request, response) => {
    answer(request, response).catch((failure) => {
      const { status = 500, code = "failed", field } = failure;
      if (!response.headersSent) response.writeHead(status, { "Content-Type": "application/json", ...(status === 429 ? { "Retry-After": "7" } : {}) });
      response.end(JSON.stringify({ error: { code, message: failure.message, field } }));
    });
  });
  const prompts = ["hills at sunrise, soft light", "a valley in the evening", "mountains under a red sky", "a quiet lake, mist", "desert dunes, long shadows", "a green coast", "winter morning, blue shadows", "storm over the plains", "last light on the ridge"];
  for (let n = 0; n < count; n += 1) addImage({ prompt: prompts[n % prompts.length], model: n % 3 ? "demo" : "dreamshaper_8" }, 1000 + n * 37, ...[[512, 512], [384, 512], [512, 384]][n % 3], new Date(Date.UTC(2026, 10, 1 + n)).toISOString());
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    addModel: (model) => {
      state.models.push(model);
      broadcast("models", {});
    },
    close: () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      return closed;
    },
  };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const { url } = await startMock({ port: Number(process.argv[2] ?? 7861) });
  console.log(url);
}
