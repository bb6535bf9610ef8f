// One of several names; the first choice is the default, which it names.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { Field } from "./field.js";

/**
 * @param {object} props
 * @param {{value: string, label: string, title?: string}[]} props.choices
 * @param {string|undefined} props.value undefined for the default
 * @param {string|undefined} [props.fallback] the label of the default
 * @param {boolean} [props.required] without a choice for the default
 */
export function ChoiceField({ label, hint, error, choices, value, fallback, required = false, onChange }) {
  const known = choices.some((choice) => choice.value === value);
  return html`
    <${Field} label=${label} hint=${hint} error=${error} onReset=${value === undefined || required ? undefined : () => onChange(undefined)}>
      ${(attributes) => html`
        <select ...${attributes} value=${value ?? ""} onChange=${(event) => onChange(event.target.value || undefined)}>
          ${!required && html`<option value="">${fallback ? t("field.defaultIs", { value: fallback }) : t("field.default")}</option>`}
          ${value !== undefined && !known && html`<option value=${value}>${t("field.missing", { value })}</option>`}
          ${choices.map((choice) => html`<option key=${choice.value} value=${choice.value} title=${choice.title}>${choice.label}</option>`)}
        </select>
      `}
    <//>
  `;
}
