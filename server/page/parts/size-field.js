// Width and height: buttons for the shapes that the model draws well, then free numbers.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { sizesFor } from "../lib/sizes.js";
import { useStore } from "../lib/store.js";
import { server } from "../state/server.js";
import { defaultOf } from "../state/settings.js";
import { IconButton } from "./button.js";
import { NumberField } from "./number-field.js";

/** A small drawing of a shape. */
function Shape({ width, height }) {
  const scale = 16 / Math.max(width, height);
  return html`<span class="shape" aria-hidden="true" style=${{ width: `${width * scale}px`, height: `${height * scale}px` }}></span>`;
}

/** @param {{form: import("../state/settings.js").Form, model: any, own?: {width: number, height: number}}} props `own` is the size of an image to be redrawn */
export function SizeField({ form, model, own }) {
  const values = useStore(form.values);
  const errors = useStore(form.errors);
  const limits = useStore(server, (state) => state.info?.limits);
  const usual = own ?? { width: defaultOf("width", model), height: defaultOf("height", model) };
  const width = values.width ?? usual.width;
  const height = values.height ?? usual.height;
  const set = (w, h) => {
    form.set("width", w === usual.width ? undefined : w);
    form.set("height", h === usual.height ? undefined : h);
  };
  const step = width % 64 || height % 64 ? 8 : 64;
  return html`
    <fieldset class="size-field">
      <legend>${t("size.title")}<span class="field-aside">${width} × ${height}</span></legend>
      <div class="aspects">
        ${sizesFor(model).map(
          (size) => html`<button type="button" key=${size.label} class="aspect" aria-pressed=${size.width === width && size.height === height}
            title=${`${size.width} × ${size.height}`} onClick=${() => set(size.width, size.height)}>
            <${Shape} ...${size} /><span>${size.label}</span>
          </button>`,
        )}
      </div>
      <div class="two">
        <${NumberField} label=${t("option.width")} error=${errors.width} value=${values.width} fallback=${usual.width} min=${8}
          max=${limits?.max_width ?? 4096} step=${step} onChange=${(value) => form.set("width", value)} />
        <${IconButton} icon="swap" label=${t("size.swap")} onClick=${() => set(height, width)} />
        <${NumberField} label=${t("option.height")} error=${errors.height} value=${values.height} fallback=${usual.height} min=${8}
          max=${limits?.max_height ?? 4096} step=${step} onChange=${(value) => form.set("height", value)} />
      </div>
    </fieldset>
  `;
}
