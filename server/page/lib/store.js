// State outside of components: a value that components subscribe to. Values are replaced, never changed in place.
import { useLayoutEffect, useState } from "./html.js";

/** @template T */
export class Store {
  /** @param {T} value */
  constructor(value) {
    this.value = value;
    this.listeners = new Set();
  }

  /** @param {T} value */
  set(value) {
    if (Object.is(value, this.value)) return;
    this.value = value;
    for (const listener of [...this.listeners]) listener(value);
  }

  /** Replaces some members of an object. @param {Partial<T>} patch */
  update(patch) {
    this.set({ ...this.value, ...patch });
  }

  /** @returns {() => void} ends the subscription */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}

/**
 * The value of a store, or what `select` takes of it; the component is drawn again when that changes.
 * @template T, S
 * @param {Store<T>} store
 * @param {(value: T) => S} [select]
 */
export function useStore(store, select = (value) => value) {
  const selected = select(store.value);
  const [, redraw] = useState(0);
  useLayoutEffect(() => {
    let shown = selected;
    const check = () => {
      const next = select(store.value);
      if (Object.is(next, shown)) return;
      shown = next;
      redraw((count) => count + 1);
    };
    check(); // It may have changed between drawing and subscribing.
    return store.subscribe(check);
  }, [store, selected]);
  return selected;
}
