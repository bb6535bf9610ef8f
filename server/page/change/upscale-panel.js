// The settings of an enlargement: the built-in network, one of the folders, or Lanczos' filter, and how many times as large.
import { html } from "../lib/html.js";
import { t, tx } from "../lib/i18n.js";
import { useStore } from "../lib/store.js";
import { ChoiceField } from "../parts/choice-field.js";
import { NumberField } from "../parts/number-field.js";
import { modelsOfKind, server } from "../state/server.js";

const FILTER = "lanczos";
const BUILT_IN = "realesr-animevideov3";

/** What enlarges if a person names nothing. @param {{info: any}} state */
export const usualUpscaler = ({ info }) => (info?.upscalers?.includes(BUILT_IN) ? BUILT_IN : FILTER);

export function UpscalePanel({ form, source }) {
  const models = useStore(server, (state) => state.models);
  const values = useStore(form.values);
  const errors = useStore(form.errors);
  const usual = useStore(server, usualUpscaler);
  const networks = modelsOfKind(models, "upscaler").map(({ name }) => ({ value: name, label: name }));
  const choices = usual === FILTER ? networks : [{ value: FILTER, label: tx("choice", FILTER) }, ...networks];
  const scale = values.scale ?? 2;
  return html`
    <div class="stack">
      <${ChoiceField} label=${t("upscale.model")} error=${errors.model} value=${values.upscale_model} fallback=${tx("choice", usual)} choices=${choices}
        hint=${networks.length === 0 ? t("upscale.noNetwork") : undefined} onChange=${(value) => form.set("upscale_model", value)} />
      <${NumberField} label=${t("option.scale")} error=${errors.scale} value=${values.scale} fallback=${2} min=${1} max=${8} hardMax=${16} step=${0.5} slider
        hint=${source && t("upscale.becomes", { width: Math.round(source.width * scale), height: Math.round(source.height * scale) })}
        onChange=${(value) => form.set("scale", value)} />
    </div>
  `;
}
