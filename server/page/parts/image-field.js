// A small field for an image, such as the one that a ControlNet sees.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { fileImage } from "../lib/image-source.js";
import { toastError } from "../state/toasts.js";
import { IconButton } from "./button.js";
import { DropZone } from "./drop-zone.js";

/** @param {{label: string, source: import("../lib/image-source.js").ImageSource|undefined, error?: string, onChange: (source: any) => void}} props */
export function ImageField({ label, source, error, onChange }) {
  const choose = (file) => fileImage(file).then(onChange, toastError);
  return html`
    <div class=${`field ${error ? "has-error" : ""}`}>
      ${source
        ? html`<div class="image-field">
            <img src=${source.url} alt=${source.name} />
            <span>${source.name}<br /><span class="hint">${source.width} × ${source.height}</span></span>
            <${IconButton} icon="close" label=${t("image.remove")} onClick=${() => onChange(undefined)} />
          </div>`
        : html`<${DropZone} small icon="image" label=${label} accept="image/*" onFile=${choose} />`}
      ${error && html`<p class="error-text">${error}</p>`}
    </div>
  `;
}
