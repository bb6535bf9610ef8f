// Two fingers on a canvas move and zoom it, while one finger draws.
import { useRef } from "../lib/html.js";

const middle = ([a, b]) => [(a.clientX + b.clientX) / 2, (a.clientY + b.clientY) / 2];
const distance = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);

/**
 * @param {{current: HTMLElement}} scroller what scrolls @param {number} zoom @param {(zoom: number) => void} zoomTo
 * @returns {{down: Function, move: Function, up: Function}} to be called with the events of pointers; `down` and `move` say whether
 *   two fingers are down, and the event is not for drawing
 */
export function usePinch(scroller, zoom, zoomTo) {
  const fingers = useRef(new Map());
  const start = useRef(null);
  const pair = () => [...fingers.current.values()].slice(0, 2);

  const down = (event) => {
    if (event.pointerType !== "touch") return false;
    fingers.current.set(event.pointerId, event);
    if (fingers.current.size < 2) return false;
    start.current = { zoom, distance: distance(pair()), middle: middle(pair()) };
    return true;
  };
  const move = (event) => {
    if (!fingers.current.has(event.pointerId)) return false;
    fingers.current.set(event.pointerId, event);
    if (fingers.current.size < 2) return false;
    const [x, y] = middle(pair());
    const before = start.current;
    scroller.current.scrollBy(before.middle[0] - x, before.middle[1] - y);
    before.middle = [x, y];
    zoomTo((before.zoom * distance(pair())) / Math.max(1, before.distance));
    return true;
  };
  const up = (event) => fingers.current.delete(event.pointerId);
  return { down, move, up };
}
