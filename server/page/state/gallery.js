// The images of the output folder that match a search, page by page.
import { get } from "../lib/api.js";
import { Store } from "../lib/store.js";
import { onServerEvent } from "./server.js";

const PAGE = 48;

export const gallery = new Store({ query: { q: "", model: "", seed: "" }, images: null, total: 0, loading: false, failure: null });

let running = null;

function pathOf(query, offset) {
  const params = new URLSearchParams({ offset: String(offset), limit: String(PAGE) });
  for (const [name, value] of Object.entries(query)) if (value) params.set(name, value);
  return `images?${params}`;
}

/** Asks for the first page of a search, or for the next one. */
export async function loadImages({ more = false, query = gallery.value.query } = {}) {
  running?.abort();
  running = new AbortController();
  const { images } = gallery.value;
  gallery.update({ query, loading: true });
  try {
    const page = await get(pathOf(query, more ? images.length : 0), running.signal);
    gallery.update({ images: more ? [...images, ...page.images] : page.images, total: page.total, loading: false, failure: null });
  } catch (failure) {
    if (failure.name !== "AbortError") gallery.update({ loading: false, failure });
  }
}

onServerEvent((name, data) => {
  const { images, total, query } = gallery.value;
  if (!images) return;
  if (name === "reload") loadImages();
  if (name !== "gallery") return;
  const removed = new Set(data.removed ?? []);
  const kept = images.filter((image) => !removed.has(image.name));
  const lost = images.length - kept.length;
  if (data.added?.length && Object.values(query).some(Boolean)) {
    loadImages(); // Only the server knows whether they match the search.
    return;
  }
  const added = (data.added ?? []).filter((image) => !kept.some((each) => each.name === image.name));
  const all = [...added, ...kept].sort((a, b) => (b.created ?? "").localeCompare(a.created ?? ""));
  gallery.update({ images: all, total: total - lost + added.length });
});
