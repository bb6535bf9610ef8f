// Jobs: those that the server has, as its events report them, and those that this page submits.
import { address, get, post, remove } from "../lib/api.js";
import { listen } from "../lib/events.js";
import { Store } from "../lib/store.js";
import { onServerEvent } from "./server.js";

const ENDED = ["done", "failed", "cancelled"];
export const hasEnded = (job) => ENDED.includes(job.state);

/**
 * Jobs by id. Beside what the server says, a job has `preview` (a data address), `loading`, and `before`, the image that it
 * started from, if this page sent it.
 */
export const jobs = new Store({ byId: {}, queued: 0, running: 0 });

const streams = new Map();

/** The newest first. */
export const listJobs = (byId) =>
  Object.values(byId).sort((a, b) => (b.created ?? "").localeCompare(a.created ?? "") || (b.order ?? 0) - (a.order ?? 0));

function put(id, patch) {
  const { byId } = jobs.value;
  const old = byId[id];
  jobs.update({ byId: { ...byId, [id]: { images: [], warnings: [], ...old, ...patch } } });
}

/** The state of a job, as the server sends it. */
function receive(job) {
  put(job.id, hasEnded(job) ? { ...job, preview: null, loading: null } : job);
  if (hasEnded(job)) unfollow(job.id);
  else if (job.state === "running") follow(job.id);
}

function unfollow(id) {
  streams.get(id)?.();
  streams.delete(id);
}

/** One stream for each job that runs; those that wait are followed by the server's events. */
function follow(id) {
  if (streams.has(id)) return;
  const end = (job) => receive(job);
  streams.set(
    id,
    listen(`jobs/${id}/events`, {
      state: receive,
      loading: (loading) => put(id, { loading }),
      progress: (progress) => put(id, { block: null, ...progress, loading: null }),
      preview: ({ image }) => put(id, { preview: image }),
      image: (image) => {
        const images = jobs.value.byId[id]?.images ?? [];
        if (!images.some((each) => each.name === image.name)) put(id, { images: [...images, image], preview: null });
      },
      warning: ({ message }) => {
        const warnings = jobs.value.byId[id]?.warnings ?? [];
        if (!warnings.includes(message)) put(id, { warnings: [...warnings, message] });
      },
      done: end,
      failed: end,
      cancelled: end,
    }),
  );
}

/** Reads all anew: at the start, and after the server was away. */
async function reload() {
  for (const id of [...streams.keys()]) unfollow(id);
  const { jobs: list, queued, running } = await get("jobs?limit=40");
  const known = jobs.value.byId;
  const byId = Object.fromEntries(list.map((job) => [job.id, { images: [], warnings: [], ...known[job.id], ...job }]));
  jobs.set({ byId, queued, running });
  list.forEach(receive);
}

onServerEvent((name, data) => {
  if (name === "reload") reload().catch(() => {});
  else if (name === "job") receive(data);
  else if (name === "queue") jobs.update(data);
  else if (name === "gallery") forget(data.removed ?? []);
});

/** Images that were deleted are no results any more. */
function forget(names) {
  if (names.length === 0) return;
  const byId = {};
  for (const [id, job] of Object.entries(jobs.value.byId)) {
    const images = (job.images ?? []).filter((image) => !names.includes(image.name));
    if (images.length > 0 || job.state !== "done") byId[id] = { ...job, images };
  }
  jobs.update({ byId });
}

let order = 0;

/**
 * Sends a job to the server.
 * @param {string} verb @param {Record<string, unknown>} options
 * @param {{before?: import("../lib/image-source.js").ImageSource|null}} [own] what only this page knows
 */
export async function submit(verb, options, { before = null } = {}) {
  const job = await post("jobs", { verb, options, preview_interval: 1 });
  order += 1;
  put(job.id, {
    created: new Date().toISOString(),
    prompt: options.prompt,
    ...job,
    ...jobs.value.byId[job.id],
    verb,
    order,
    before: before && { name: before.name, url: before.url },
  });
  return job.id;
}

export async function cancel(id) {
  receive(await remove(`jobs/${encodeURIComponent(id)}`));
}

/** Removes a job that failed from the page. */
export function dismiss(id) {
  const { [id]: _, ...byId } = jobs.value.byId;
  jobs.update({ byId });
}

/** Where the browser gets an image from, and its thumbnail. */
export const imageUrl = (image) => address(image.url ?? `/api/v1/images/${encodeURIComponent(image.name)}`);
export const thumbnailUrl = (image) => address(image.thumbnail ?? `/api/v1/images/${encodeURIComponent(image.name)}/thumbnail`);
