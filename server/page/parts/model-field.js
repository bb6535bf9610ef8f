// Which model draws: those of the folders that can do it, by family, and what the chosen one needs.
import { html } from "../lib/html.js";
import { t, tx } from "../lib/i18n.js";
import { bytes } from "../lib/format.js";
import { useStore } from "../lib/store.js";
import { modelNamed, server } from "../state/server.js";
import { Field } from "./field.js";
import { Message } from "./message.js";

/** Models that can do a verb, in groups of one family. */
function modelsFor(models, verb) {
  const needed = verb === "grid" ? "txt2img" : verb; // A plot is drawn from words.
  const groups = new Map();
  for (const model of models ?? []) {
    if (model.kind !== "model" || !model.draws || (model.verbs && !model.verbs.includes(needed))) continue;
    const family = model.family_label ?? t("models.familyUnknown");
    groups.set(family, [...(groups.get(family) ?? []), model]);
  }
  return groups;
}

function needs(model, width, height) {
  const sides = Object.keys(model?.memory ?? {}).map(Number);
  if (sides.length === 0) return null;
  const side = Math.sqrt(width * height);
  const nearest = sides.reduce((best, each) => (Math.abs(each - side) < Math.abs(best - side) ? each : best));
  return t("models.needs", { memory: bytes(model.memory[nearest]), side: nearest });
}

export function ModelField({ form, verb }) {
  const state = useStore(server);
  const name = useStore(form.values, (values) => values.model);
  const error = useStore(form.errors, (errors) => errors.model);
  const values = useStore(form.values);
  const groups = modelsFor(state.models, verb);
  const model = modelNamed(state, name);
  const all = [...groups.values()].flat();
  if (state.models && all.length === 0) return html`<${Message} kind="info">${tx("modelsNone", verb === "edit" ? "edit" : "any")}<//>`;

  const known = all.some((each) => each.name === model?.name);
  const hint = known
    ? [model.family_label, needs(model, values.width ?? model.defaults?.width ?? 512, values.height ?? model.defaults?.height ?? 512)].filter(Boolean).join(" · ")
    : undefined;
  const problem = error ?? (name !== undefined && state.models && !known ? t("models.notHere", { name }) : undefined);
  return html`
    <${Field} label=${t("option.model")} hint=${hint} error=${problem}>
      ${(attributes) => html`
        <select ...${attributes} value=${known ? model.name : ""} onChange=${(event) => form.set("model", event.target.value || undefined)}>
          ${!known && html`<option value="">${name ?? t("models.choose")}</option>`}
          ${[...groups].map(
            ([family, list]) => html`<optgroup key=${family} label=${family}>
              ${list.map((each) => html`<option key=${each.name} value=${each.name}>${each.built_in ? t("models.builtIn", { name: each.name }) : each.name}</option>`)}
            </optgroup>`,
          )}
        </select>
      `}
    <//>
  `;
}
