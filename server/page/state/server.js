// What the server is and has: its limits, samplers and models, and whether it can be reached.
import { get, onUnauthorized, post } from "../lib/api.js";
import { listen } from "../lib/events.js";
import { Store } from "../lib/store.js";

export const server = new Store({
  info: null,
  models: null,
  online: true,
  needsKey: false,
  failure: null,
});

/** Called with the name and data of each event of the server; `reload` after a pause, when events may have been missed. */
const listeners = new Set();
export const onServerEvent = (listener) => listeners.add(listener);
const emit = (name, data) => listeners.forEach((listener) => listener(name, data));

onUnauthorized(() => server.update({ needsKey: true }));

async function loadModels() {
  const { models } = await get("models");
  server.update({ models });
}

async function load() {
  const [info, { models }] = await Promise.all([get("info"), get("models")]);
  server.update({ info, models, failure: null, needsKey: false });
}

let stop = null;
let retry = 0;

/** Loads everything and follows the server's events. Errors are in `server.failure`; it goes on trying. */
export async function start() {
  clearTimeout(retry);
  try {
    await load();
  } catch (failure) {
    server.update({ failure });
    if (failure.status !== 401) retry = setTimeout(start, 2000);
    return;
  }
  stop?.();
  stop = listen(
    "events",
    {
      queue: (data) => emit("queue", data),
      job: (data) => emit("job", data),
      gallery: (data) => emit("gallery", data),
      models: () => loadModels().catch(() => {}),
    },
    {
      onUp: (again) => {
        server.update({ online: true });
        if (!again) return;
        load().catch(() => {});
        emit("reload", null);
      },
      onDown: () => server.update({ online: false }),
    },
  );
  emit("reload", null);
}

/** Gives the key that the server wants; the server answers with a cookie. */
export async function login(key) {
  await post("login", { key });
  await start();
}

/** @param {string|undefined} name undefined for the server's own choice */
export function modelNamed({ info, models }, name) {
  const wanted = name ?? info?.default_model?.name;
  const ofName = models?.filter((model) => model.name === wanted) ?? [];
  return ofName.find((model) => model.kind === "model") ?? ofName[0] ?? (name ? undefined : info?.default_model ?? undefined);
}

/** Those of a kind, or of one of several. */
export const modelsOfKind = (models, kind) => (models ?? []).filter((model) => [kind].flat().includes(model.kind));
