// The short messages at the edge of the page.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { useStore } from "../lib/store.js";
import { dropToast, toasts } from "../state/toasts.js";
import { Button, IconButton } from "./button.js";

export function Toasts() {
  const list = useStore(toasts);
  const act = (toast) => () => {
    dropToast(toast.id);
    toast.run();
  };
  return html`
    <div class="toasts" role="status" aria-live="polite">
      ${list.map(
        (toast) => html`<div key=${toast.id} class=${`toast ${toast.kind}`}>
          <span>${toast.text}</span>
          ${toast.action && html`<${Button} small kind="quiet" onClick=${act(toast)}>${toast.action}<//>`}
          <${IconButton} icon="close" size=${16} label=${t("dialog.close")} onClick=${() => dropToast(toast.id)} />
        </div>`,
      )}
    </div>
  `;
}
