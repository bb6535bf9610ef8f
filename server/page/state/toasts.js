// Short messages at the edge of the page, with at most one action, such as undo.
import { Store } from "../lib/store.js";

export const toasts = new Store([]);
let count = 0;

export function dropToast(id) {
  toasts.set(toasts.value.filter((toast) => toast.id !== id));
}

/** @param {string} text @param {{action?: string, run?: () => void, kind?: "info"|"error", seconds?: number}} [rest] */
export function toast(text, { action, run, kind = "info", seconds = action ? 10 : 5 } = {}) {
  count += 1;
  const id = count;
  toasts.set([...toasts.value.slice(-3), { id, text, action, run, kind }]);
  setTimeout(() => dropToast(id), seconds * 1000);
}

export const toastError = (failure) => toast(failure.message, { kind: "error", seconds: 8 });
