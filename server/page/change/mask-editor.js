// Paints the mask of an image: brush and eraser of any size, undo and redo, zoom. With the keyboard, arrow keys move the
// brush and the space bar paints.
import { html, useCallback, useEffect, useLayoutEffect, useRef, useState } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { applyStroke, applyStrokes } from "../lib/strokes.js";
import { MaskTools } from "./mask-tools.js";
import { usePinch } from "./pinch.js";

const MAX_ZOOM = 8;

/** The history of strokes of an image; the form keeps it. */
export const emptyMask = () => ({ strokes: [], undone: [] });

/**
 * @param {object} props
 * @param {import("../lib/image-source.js").ImageSource} props.source
 * @param {{strokes: object[], undone: object[]}} props.mask
 * @param {(mask: object) => void} props.onChange
 */
export function MaskEditor({ source, mask, onChange }) {
  const { width, height } = source;
  const [tool, setTool] = useState("brush");
  const [size, setSize] = useState(Math.max(4, Math.round(Math.min(width, height) / 8)));
  const [zoom, setZoom] = useState(1);
  const [cursor, setCursor] = useState(null);
  const canvas = useRef(null);
  const stroke = useRef(null);
  const scroller = useRef(null);

  useLayoutEffect(() => {
    applyStrokes(canvas.current.getContext("2d"), mask.strokes);
  }, [mask.strokes, width, height]);

  const add = useCallback((entry) => onChange({ strokes: [...mask.strokes, entry], undone: [] }), [mask, onChange]);
  const undo = () => mask.strokes.length && onChange({ strokes: mask.strokes.slice(0, -1), undone: [...mask.undone, mask.strokes.at(-1)] });
  const redo = () => mask.undone.length && onChange({ strokes: [...mask.strokes, mask.undone.at(-1)], undone: mask.undone.slice(0, -1) });
  const resize = (factor) => setSize((old) => Math.min(Math.max(width, height), Math.max(1, Math.round(old * factor) === old ? old + Math.sign(factor - 1) : Math.round(old * factor))));
  const zoomTo = (next) => setZoom(Math.min(MAX_ZOOM, Math.max(1, next)));

  const pinch = usePinch(scroller, zoom, zoomTo);

  /** A position on the screen in pixels of the image. */
  const at = (event) => {
    const box = canvas.current.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  };
  const begin = (event) => {
    if (pinch.down(event)) {
      stroke.current = null; // What the first finger began was not meant.
      applyStrokes(canvas.current.getContext("2d"), mask.strokes);
      return;
    }
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.current.focus({ preventScroll: true });
    canvas.current.setPointerCapture(event.pointerId);
    stroke.current = { tool, size, points: [at(event)] };
    applyStroke(canvas.current.getContext("2d"), stroke.current);
  };
  const move = (event) => {
    if (pinch.move(event)) return;
    setCursor(at(event));
    const line = stroke.current;
    if (!line) return;
    const last = line.points.at(-1);
    for (const each of event.getCoalescedEvents?.() ?? [event]) line.points.push(at(each));
    if (line.points.at(-1) === last) line.points.push(at(event));
    applyStroke(canvas.current.getContext("2d"), { ...line, points: [last, ...line.points.slice(line.points.indexOf(last) + 1)] });
  };
  const end = (event) => {
    pinch.up(event);
    if (stroke.current) add(stroke.current);
    stroke.current = null;
  };

  const onKeyDown = (event) => {
    const [x, y] = cursor ?? [width / 2, height / 2];
    const far = event.shiftKey ? size : Math.max(1, size / 4);
    const to = { ArrowLeft: [x - far, y], ArrowRight: [x + far, y], ArrowUp: [x, y - far], ArrowDown: [x, y + far] }[event.key];
    const ctrl = event.ctrlKey || event.metaKey;
    if (ctrl && event.key.toLowerCase() === "z") (event.shiftKey ? redo : undo)();
    else if (ctrl && event.key.toLowerCase() === "y") redo();
    else if (ctrl) return;
    else if (to) setCursor([Math.min(width, Math.max(0, to[0])), Math.min(height, Math.max(0, to[1]))]);
    else if (event.key === " ") {
      setCursor([x, y]);
      add({ tool, size, points: [[x, y]] });
    } else if (event.key === "b") setTool("brush");
    else if (event.key === "e") setTool("eraser");
    else if (event.key === "[") resize(0.85);
    else if (event.key === "]") resize(1.18);
    else if (event.key === "+") zoomTo(zoom * 1.25);
    else if (event.key === "-") zoomTo(zoom / 1.25);
    else return;
    event.preventDefault();
  };
  useEffect(() => {
    const wheel = (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      setZoom((old) => Math.min(MAX_ZOOM, Math.max(1, old * (event.deltaY < 0 ? 1.15 : 1 / 1.15))));
    };
    const { current } = scroller;
    current.addEventListener("wheel", wheel, { passive: false });
    return () => current.removeEventListener("wheel", wheel);
  }, []);

  const percentOf = (value, whole) => `${(value / whole) * 100}%`;
  return html`
    <div class="mask-editor">
      <${MaskTools} ...${{ tool, setTool, size, setSize, max: Math.max(width, height), zoom, zoomTo, mask, undo, redo, add }} />
      <div class="canvas-scroll" ref=${scroller}>
        <div class="canvas-frame" style=${{ aspectRatio: `${width} / ${height}`, "--zoom": zoom, "--ratio": width / height }}>
          <img src=${source.url} alt=${source.name} class=${width <= 160 ? "pixels" : ""} draggable=${false} />
          <canvas ref=${canvas} class="mask" width=${width} height=${height} tabindex="0" role="application" aria-label=${t("mask.canvas")}
            onPointerDown=${begin} onPointerMove=${move} onPointerUp=${end} onPointerCancel=${end} onPointerLeave=${() => stroke.current || setCursor(null)}
            onKeyDown=${onKeyDown}></canvas>
          ${cursor &&
          html`<span class=${`brush-cursor ${tool}`} aria-hidden="true"
            style=${{ left: percentOf(cursor[0], width), top: percentOf(cursor[1], height), width: percentOf(size, width), height: percentOf(size, height) }}></span>`}
        </div>
      </div>
      <p class="hint keys-help">${t("mask.help")}</p>
    </div>
  `;
}
