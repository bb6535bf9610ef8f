// The field of one setting of `lib/options.js`, of whatever kind it is.
import { html } from "../lib/html.js";
import { tx, txOr } from "../lib/i18n.js";
import { plain } from "../lib/format.js";
import { useStore } from "../lib/store.js";
import { modelsOfKind, server } from "../state/server.js";
import { defaultOf } from "../state/settings.js";
import { ChoiceField } from "./choice-field.js";
import { Field } from "./field.js";
import { NumberField } from "./number-field.js";
import { SwitchField } from "./switch-field.js";

/** What the server lists, as choices: names alone, or names with labels. */
const choicesOf = (list) =>
  (list ?? []).map((each) =>
    typeof each === "string"
      ? { value: each, label: txOr("choice", each, each) }
      : { value: each.id ?? each.name, label: each.label ?? each.name ?? each.id, title: each.about },
  );

function allChoices(option, { info, models }) {
  const own = choicesOf(option.choicesOf ? info?.[option.choicesOf] : option.choices);
  return option.models ? [...own, ...modelsOfKind(models, option.models).map(({ name }) => ({ value: name, label: name }))] : own;
}

/** @param {{option: import("../lib/options.js").Option, form: import("../state/settings.js").Form, model: any, verb: string}} props */
export function OptionField({ option, form, model, verb }) {
  const { name, kind } = option;
  const state = useStore(server);
  const value = useStore(form.values, (values) => values[name]);
  const error = useStore(form.errors, (errors) => errors[name]);
  const fallback = defaultOf(name, model, verb);
  const shared = { label: tx("option", name), hint: txOr("hint", name, undefined), error, value, onChange: (next) => form.set(name, next) };

  if (kind === "switch") return html`<${SwitchField} ...${shared} />`;
  if (kind === "choice" || kind === "model") {
    const choices = allChoices(option, state);
    const label = choices.find((choice) => choice.value === fallback)?.label;
    return html`<${ChoiceField} ...${shared} choices=${choices} fallback=${label} />`;
  }
  if (kind === "text") {
    return html`
      <${Field} ...${shared} onReset=${value === undefined ? undefined : () => form.set(name, undefined)}>
        ${(attributes) => html`<input type="text" ...${attributes} value=${value ?? ""} onInput=${(event) => form.set(name, event.target.value || undefined)} />`}
      <//>
    `;
  }
  const hardMax = name === "steps" ? state.info?.limits?.max_steps : name === "batch_size" ? state.info?.limits?.max_batch : undefined;
  const max = hardMax === undefined ? option.max : Math.min(option.max, hardMax);
  return html`
    <${NumberField} ...${shared} fallback=${typeof fallback === "string" ? Number(plain(fallback)) : fallback}
      min=${option.min} max=${max} hardMax=${hardMax} step=${option.step ?? 1} slider=${option.group === "basic" || (option.max <= 20 && option.step !== undefined)} />
  `;
}
