// One axis of a plot: which setting changes, and through which values.
import { html } from "../lib/html.js";
import { t, tx } from "../lib/i18n.js";
import { AXES, axisValues, toggleValue } from "../lib/axes.js";
import { optionNamed } from "../lib/options.js";
import { useStore } from "../lib/store.js";
import { ChoiceField } from "../parts/choice-field.js";
import { Field } from "../parts/field.js";
import { modelsOfKind, server } from "../state/server.js";

/** Names that the values come from, if the setting has such. */
function namesFor(option, { info, models }) {
  const known = optionNamed(option);
  if (option === "model") return modelsOfKind(models, "model").map(({ name }) => ({ id: name, name }));
  if (known?.kind === "model") return modelsOfKind(models, known.models).map(({ name }) => ({ id: name, name }));
  const list = known?.choicesOf ? info?.[known.choicesOf] : known?.choices;
  return (list ?? []).map((each) => (typeof each === "string" ? { id: each, name: each } : { id: each.id ?? each.name, name: each.name }));
}

/** @param {{title: string, axis: {option: string, text: string}, error?: string, onChange: (axis: object) => void}} props */
export function Axis({ title, axis, error, onChange }) {
  const state = useStore(server);
  const names = namesFor(axis.option, state);
  const values = axisValues(axis.text);
  const choices = AXES.map((name) => ({ value: name, label: tx("option", name) }));
  return html`
    <fieldset class="axis">
      <legend class="unseen">${title}</legend>
      <${ChoiceField} label=${title} required choices=${choices} value=${axis.option} onChange=${(option) => onChange({ option, text: "" })} />
      <${Field} label=${t("plots.values")} aside=${values.length} error=${error} hint=${names.length ? undefined : tx("plotsHint", axis.option === "prompt" ? "prompt" : "number")}>
        ${(attributes) => html`<input type="text" ...${attributes} value=${axis.text} onInput=${(event) => onChange({ ...axis, text: event.target.value })} />`}
      <//>
      ${names.length > 0 &&
      html`<div class="chips" role="group" aria-label=${tx("option", axis.option)}>
        ${names.map(
          ({ id, name }) => html`<button type="button" key=${id} class="chip" aria-pressed=${values.includes(id)} onClick=${() => onChange({ ...axis, text: toggleValue(axis.text, id) })}>${name}</button>`,
        )}
      </div>`}
    </fieldset>
  `;
}
