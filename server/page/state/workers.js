// The machines that draw, where several share one queue, and the jobs that none of them could draw.
import { get } from "../lib/api.js";
import { Store } from "../lib/store.js";

/** `list` is null until the server has answered; `open` while somebody reads it. */
export const workers = new Store({ list: null, parked: [], failure: null, open: false });

/** Asks the server. What it said last stays if it cannot say. */
export async function loadWorkers() {
  try {
    const { workers: list, parked = [] } = await get("workers");
    workers.update({ list, parked, failure: null });
  } catch (failure) {
    workers.update({ failure });
  }
}
