// Which result a tab shows large: the job of `id`, or with null the one that runs, or else the newest.
import { Store } from "../lib/store.js";

export const drawView = new Store({ id: null, index: 0 });
export const changeView = new Store({ id: null, index: 0 });
export const plotView = new Store({ id: null, index: 0 });
