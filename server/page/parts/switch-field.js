// A switch that is on or off.
import { html, useId } from "../lib/html.js";

export function SwitchField({ label, hint, error, value, onChange }) {
  const id = useId();
  return html`
    <div class="field switch-field">
      <label class="switch" for=${id}>
        <input type="checkbox" role="switch" id=${id} checked=${Boolean(value)} aria-describedby=${hint || error ? `${id}-hint` : undefined}
          onChange=${(event) => onChange(event.target.checked || undefined)} />
        <span class="switch-track" aria-hidden="true"></span>
        <span>${label}</span>
      </label>
      ${(hint || error) && html`<p class=${error ? "error-text" : "hint"} id=${`${id}-hint`}>${error ?? hint}</p>`}
    </div>
  `;
}
