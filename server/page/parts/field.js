// A labelled field with its hint and its error. `children` is a function that gets the attributes for the control.
import { html, useId } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { IconButton } from "./button.js";

/**
 * @param {object} props
 * @param {string} props.label
 * @param {string} [props.hint]
 * @param {string} [props.error]
 * @param {() => void} [props.onReset] shown as a button if the value is not the default
 * @param {any} [props.aside] stands at the right of the label
 * @param {(attributes: object) => any} props.children
 */
export function Field({ label, hint, error, onReset, aside, inline = false, children }) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;
  const control = children({ id, "aria-describedby": described, "aria-invalid": error ? "true" : undefined });
  return html`
    <div class=${`field ${inline ? "inline" : ""} ${error ? "has-error" : ""}`}>
      <div class="field-head">
        <label for=${id}>${label}</label>
        ${onReset && html`<${IconButton} icon="reset" size=${14} class="tiny" label=${t("field.reset", { name: label })} onClick=${onReset} />`}
        ${aside !== undefined && aside !== null && html`<span class="field-aside">${aside}</span>`}
      </div>
      ${control}
      ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
      ${error && html`<p class="error-text" id=${`${id}-error`}>${error}</p>`}
    </div>
  `;
}
