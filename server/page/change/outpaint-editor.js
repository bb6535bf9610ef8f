// Lets an image grow past its edges: each edge is dragged, moved with arrow keys, or set as a number.
import { html, useRef } from "../lib/html.js";
import { t, tx } from "../lib/i18n.js";
import { useStore } from "../lib/store.js";
import { NumberField } from "../parts/number-field.js";

const EDGES = ["left", "right", "top", "bottom"];
const STEP = 8;
const MAX_GROWTH = 2048;
/** How much of the frame the image itself takes up at least, so that there is room to drag. */
const ROOM = 0.25;

const isHorizontal = (edge) => edge === "left" || edge === "right";

function Handle({ edge, amount, onMove }) {
  const start = useRef(null);
  const outwards = edge === "left" || edge === "top" ? -1 : 1;
  const position = (event) => (isHorizontal(edge) ? event.clientX : event.clientY);
  const set = (value) => onMove(Math.min(MAX_GROWTH, Math.max(0, Math.round(value / STEP) * STEP)));
  const begin = (event) => {
    event.preventDefault();
    event.target.focus({ preventScroll: true });
    event.target.setPointerCapture(event.pointerId);
    const scale = Number(event.target.closest(".outpaint-frame").dataset.scale);
    const box = event.target.closest(".outpaint-frame").getBoundingClientRect();
    start.current = { at: position(event), amount, scale: scale / box.width };
  };
  const move = (event) => {
    if (!start.current) return;
    set(start.current.amount + (position(event) - start.current.at) * outwards * start.current.scale);
  };
  const onKeyDown = (event) => {
    const keys = isHorizontal(edge) ? { ArrowLeft: -1, ArrowRight: 1 } : { ArrowUp: -1, ArrowDown: 1 };
    const direction = keys[event.key];
    if (event.key === "Home") set(0);
    else if (direction) set(amount + direction * outwards * (event.shiftKey ? 8 * STEP : STEP));
    else return;
    event.preventDefault();
  };
  return html`
    <span class=${`edge ${edge}`} role="slider" tabindex="0" aria-label=${t("outpaint.edge", { edge: tx("option", edge) })}
      aria-orientation=${isHorizontal(edge) ? "horizontal" : "vertical"} aria-valuemin="0" aria-valuemax=${MAX_GROWTH} aria-valuenow=${amount}
      aria-valuetext=${t("outpaint.pixels", { n: amount })}
      onPointerDown=${begin} onPointerMove=${move} onPointerUp=${() => (start.current = null)} onPointerCancel=${() => (start.current = null)} onKeyDown=${onKeyDown}></span>
  `;
}

/** @param {{form: import("../state/settings.js").Form, source: import("../lib/image-source.js").ImageSource}} props */
export function OutpaintEditor({ form, source }) {
  const values = useStore(form.values);
  const errors = useStore(form.errors);
  const amounts = Object.fromEntries(EDGES.map((edge) => [edge, values[edge] ?? 0]));
  const width = source.width + amounts.left + amounts.right;
  const height = source.height + amounts.top + amounts.bottom;
  const marginX = source.width * ROOM;
  const marginY = source.height * ROOM;
  const whole = { width: width + 2 * marginX, height: height + 2 * marginY };
  const set = (edge, amount) => form.set(edge, amount || undefined);
  const x = (value) => `${(value / whole.width) * 100}%`;
  const y = (value) => `${(value / whole.height) * 100}%`;
  const box = { left: x(marginX), top: y(marginY), width: x(width), height: y(height) };
  return html`
    <div class="outpaint">
      <div class="canvas-scroll">
        <div class="canvas-frame outpaint-frame" data-scale=${whole.width} style=${{ aspectRatio: `${whole.width} / ${whole.height}`, "--zoom": 1, "--ratio": whole.width / whole.height }}>
          <div class="grown" style=${box}></div>
          <img src=${source.url} alt=${source.name} class=${source.width <= 160 ? "pixels" : ""} draggable=${false}
            style=${{ left: x(marginX + amounts.left), top: y(marginY + amounts.top), width: x(source.width), height: y(source.height) }} />
          <div class="edges" style=${box}>
            ${EDGES.map((edge) => html`<${Handle} key=${edge} edge=${edge} amount=${amounts[edge]} onMove=${(amount) => set(edge, amount)} />`)}
          </div>
        </div>
      </div>
      <p class="hint">${t("outpaint.help", { width, height })}</p>
      <div class="four">
        ${EDGES.map(
          (edge) => html`<${NumberField} key=${edge} label=${tx("option", edge)} error=${errors[edge]} value=${values[edge]} fallback=${0} min=${0} max=${MAX_GROWTH} step=${STEP}
            onChange=${(amount) => set(edge, amount)} />`,
        )}
      </div>
    </div>
  `;
}
