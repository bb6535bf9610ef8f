// The folders in which models are looked for. A file that is put there appears without a reload.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { IconButton } from "../parts/button.js";
import { Icon } from "../parts/icon.js";
import { toast, toastError } from "../state/toasts.js";

export function Folders({ folders }) {
  if (folders.length === 0) return null;
  const copy = (path) => navigator.clipboard.writeText(path).then(() => toast(t("folders.copied")), toastError);
  return html`
    <div class="card folders">
      <h2>${t("folders.title")}</h2>
      <p class="hint">${t("folders.hint")}</p>
      <ul>
        ${folders.map(
          ({ path, exists }) => html`<li key=${path}>
            <${Icon} name="folder" size=${16} /><code>${path}</code>${!exists && html`<span class="badge">${t("folders.missing")}</span>`}
            <${IconButton} icon="copy" size=${16} label=${t("folders.copy", { path })} onClick=${() => copy(path)} />
          </li>`,
        )}
      </ul>
    </div>
  `;
}
