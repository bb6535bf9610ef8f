// The button that sends a form, the number of images, and what is wrong with the form as a whole.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { useStore } from "../lib/store.js";
import { server } from "../state/server.js";
import { failures } from "../state/send.js";
import { IconButton, Button } from "./button.js";
import { Message } from "./message.js";

function Count({ form }) {
  const count = useStore(form.values, (values) => values.batch_count ?? 1);
  const max = useStore(server, (state) => state.info?.limits?.max_batch ?? 64);
  const set = (value) => form.set("batch_count", value <= 1 ? undefined : Math.min(value, max));
  return html`
    <div class="count" role="group" aria-label=${t("option.batch_count")}>
      <${IconButton} icon="minus" size=${16} label=${t("count.fewer")} disabled=${count <= 1} onClick=${() => set(count - 1)} />
      <output aria-live="polite" title=${t("option.batch_count")}>${count}</output>
      <${IconButton} icon="plus" size=${16} label=${t("count.more")} disabled=${count >= max} onClick=${() => set(count + 1)} />
    </div>
  `;
}

/** @param {{form: import("../state/settings.js").Form, label: string, busy: boolean, disabled?: boolean, count?: boolean, onDraw: () => void}} props */
export function DrawBar({ form, label, busy, disabled = false, count = true, onDraw }) {
  const failure = useStore(failures, (all) => all.get(form));
  const errors = useStore(form.errors);
  const batch = errors.batch_count;
  return html`
    <div class="draw-bar">
      ${(failure || batch) && html`<${Message}>${failure ?? batch}<//>`}
      <div class="draw-row">
        ${count && html`<${Count} form=${form} />`}
        <${Button} kind="primary" icon="spark" class="draw-button" disabled=${busy || disabled} aria-keyshortcuts="Control+Enter" onClick=${onDraw}>
          ${label}<kbd aria-hidden="true">${t("draw.shortcut")}</kbd>
        <//>
      </div>
    </div>
  `;
}
