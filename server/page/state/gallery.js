// The images of the output folder that match a search, page by page.
import { get } from "../lib/api.js";
import { Store } from "../lib/store.js";
import { onServerEvent } from "./server.js";

const PAGE = 48;

export const gallery = new Store({ query: { q: "", model: "", seed: "" }, images: null, total: 0, loading: false, failure: null });

/** The request that is under way: `{abort, more}`. */
let running = null;

function pathOf(query, offset) {
  const params = new URLSearchParams({ offset: String(offset), limit: String(PAGE) });
  for (const [name, value] of Object.entries(query)) if (value) params.set(name, value);
  return `images?${params}`;
}

/** Asks for the first page of a search, or for the next one. */
export async function loadImages({ more = false, query = gallery.value.query } = {}) {
  running?.abort.abort();
  const own = { abort: new AbortController(), more };
  running = own;
  const { images } = gallery.value;
  gallery.update({ query, loading: true });
  try {
    const page = await get(pathOf(query, more ? images.length : 0), own.abort.signal);
    if (running !== own) return;
    gallery.update({ images: more ? [...images, ...page.images] : page.images, total: page.total, loading: false, failure: null });
  } catch (failure) {
    if (running === own) gallery.update({ loading: false, failure });
  }
}

/** What came and went since the images were listed. */
function apply({ added = [], removed = [] }) {
  const { images, total, query } = gallery.value;
  const gone = new Set(removed);
  const kept = images.filter((image) => !gone.has(image.name));
  const lost = images.length - kept.length;
  // Only the server knows whether new ones match the search.
  const isSearch = added.length > 0 && Object.values(query).some(Boolean);
  const news = isSearch ? [] : added.filter((image) => !kept.some((each) => each.name === image.name));
  const all = [...news, ...kept].sort((a, b) => (b.created ?? "").localeCompare(a.created ?? ""));
  gallery.update({ images: all, total: total - lost + news.length });
  return isSearch;
}

onServerEvent((name, data) => {
  if (name !== "reload" && name !== "gallery") return;
  const { images, loading } = gallery.value;
  const asksServer = images && (name === "reload" || apply(data));
  // What is being loaded may be from before the event.
  if (loading) loadImages({ more: name === "gallery" && running.more });
  else if (asksServer) loadImages();
});
