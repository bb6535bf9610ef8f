// Which tab is shown, and its settings, from the part of the address after `#`: `#/draw?prompt=a+red+apple&steps=8`. What
// stands there is never sent to a server, so that prompts do not end up in logs on the way.
import { Store } from "./store.js";

export const TABS = ["draw", "change", "gallery", "models", "plots"];

function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [tab, part = ""] = path.split("/");
  return { tab: TABS.includes(tab) ? tab : "draw", part, params: new URLSearchParams(query) };
}

export const route = new Store(read());
window.addEventListener("hashchange", () => route.set(read()));

const hashOf = (tab, part, params) => {
  const query = String(params ?? "");
  return `#/${tab}${part ? `/${part}` : ""}${query ? `?${query}` : ""}`;
};

/** Goes to a tab; the browser's Back button leads back. */
export function go(tab, part = "", params = "") {
  location.hash = hashOf(tab, part, params);
}

let timer = 0;

/** Writes the settings of the shown tab into the address, soon and without a step in the history. */
export function record(tab, part, params) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (route.value.tab === tab) history.replaceState(null, "", hashOf(tab, part, params));
  }, 250);
}
