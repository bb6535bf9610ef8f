// A row of buttons of which one is chosen.
import { html, useId } from "../lib/html.js";
import { Icon } from "./icon.js";

/** @param {{label: string, choices: {value: string, label: string, icon?: string}[], value: string, onChange: (value: string) => void}} props */
export function Segmented({ label, choices, value, onChange }) {
  const name = useId();
  return html`
    <fieldset class="segmented">
      <legend class="unseen">${label}</legend>
      ${choices.map(
        (choice) => html`<label key=${choice.value} class=${choice.value === value ? "chosen" : ""}>
          <input type="radio" class="unseen" name=${name} value=${choice.value} checked=${choice.value === value} onChange=${() => onChange(choice.value)} />
          ${choice.icon && html`<${Icon} name=${choice.icon} size=${16} />`}<span>${choice.label}</span>
        </label>`,
      )}
    </fieldset>
  `;
}
