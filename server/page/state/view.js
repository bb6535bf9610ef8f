// Which result a tab shows large: the job of `id`, or with null the one that runs, or else the newest.
import { Store } from "../lib/store.js";

export const drawView = new Store({ id: null, index: 0 });
export const changeView = new Store({ id: null, index: 0 });
export const plotView = new Store({ id: null, index: 0 });

/** In place of a job: the image that is to be changed. */
export const SOURCE = "source";

/** Follows the jobs again, after one was submitted; on a phone the results are brought into view. */
export function follow(view) {
  view.set({ id: null, index: 0 });
  if (!matchMedia("(max-width: 820px)").matches) return;
  requestAnimationFrame(() => document.querySelector(".results")?.scrollIntoView({ behavior: "smooth", block: "start" }));
}
