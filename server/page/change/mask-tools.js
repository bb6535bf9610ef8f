// The tools of the mask: brush, eraser, size, undo, zoom.
import { html } from "../lib/html.js";
import { percent } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { IconButton } from "../parts/button.js";
import { Segmented } from "../parts/segmented.js";

export function MaskTools({ tool, setTool, size, setSize, max, zoom, zoomTo, mask, undo, redo, add }) {
  const choices = [
    { value: "brush", label: t("mask.brush"), icon: "brush" },
    { value: "eraser", label: t("mask.eraser"), icon: "eraser" },
  ];
  return html`
    <div class="tools" role="group" aria-label=${t("mask.tools")}>
      <${Segmented} label=${t("mask.tool")} choices=${choices} value=${tool} onChange=${setTool} />
      <label class="tool-size">
        <span class="unseen">${t("mask.size")}</span>
        <input type="range" min="1" max=${max} value=${size} title=${t("mask.size")} onInput=${(event) => setSize(Number(event.target.value))} />
        <output>${size}</output>
      </label>
      <span class="tool-buttons">
        <${IconButton} icon="undo" label=${t("mask.undo")} disabled=${mask.strokes.length === 0} onClick=${undo} />
        <${IconButton} icon="redo" label=${t("mask.redo")} disabled=${mask.undone.length === 0} onClick=${redo} />
        <${IconButton} icon="invert" label=${t("mask.invert")} onClick=${() => add({ tool: "invert" })} />
        <${IconButton} icon="trash" label=${t("mask.clear")} disabled=${mask.strokes.length === 0} onClick=${() => add({ tool: "clear" })} />
      </span>
      <span class="tool-buttons">
        <${IconButton} icon="zoomOut" label=${t("mask.zoomOut")} disabled=${zoom <= 1} onClick=${() => zoomTo(zoom / 1.5)} />
        <output class="zoom">${percent(zoom)}</output>
        <${IconButton} icon="zoomIn" label=${t("mask.zoomIn")} disabled=${zoom >= 8} onClick=${() => zoomTo(zoom * 1.5)} />
      </span>
    </div>
  `;
}
