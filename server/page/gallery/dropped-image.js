// How an image that was dropped was made, by whatever program, and what can be done with it here.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { sizeClass } from "../lib/image-source.js";
import { useStore } from "../lib/store.js";
import { Button } from "../parts/button.js";
import { Dialog } from "../parts/dialog.js";
import { Fold } from "../parts/fold.js";
import { Message } from "../parts/message.js";
import { dropped, replay, sendToChange, takeSettings } from "../state/actions.js";
import { SettingsTable } from "./settings-table.js";

export function DroppedImage() {
  const shown = useStore(dropped);
  if (!shown) return null;
  const { source, metadata } = shown;
  const has = Boolean(metadata.prompt || metadata.job || Object.keys(metadata.settings ?? {}).length);
  const skipped = metadata.not_followed ?? [];
  const take = () => {
    dropped.set(null);
    takeSettings(metadata);
  };
  return html`
    <${Dialog} title=${source.name} wide onClose=${() => dropped.set(null)}>
      <div class="viewer">
        <div class="viewer-image"><img class=${sizeClass(source)} src=${source.url} width=${source.width} height=${source.height} alt=${source.name} /></div>
        <div class="viewer-side">
          ${!has && html`<${Message} kind="info">${t("metadata.none")}<//>`}
          <div class="actions">
            ${has && html`<${Button} small kind="primary" icon="settings" onClick=${take}>${t("action.useSettings")}<//>`}
            ${metadata.replayable && html`<${Button} small icon="replay" onClick=${() => replay(source)}>${t("vary.replay")}<//>`}
            <${Button} small icon="change" onClick=${() => sendToChange(source, "img2img", metadata.prompt)}>${t("action.change")}<//>
          </div>
          ${skipped.length > 0 && html`<${Message} kind="warning">${t("metadata.notFollowed", { list: skipped.join(", ") })}<//>`}
          <${SettingsTable} metadata=${metadata} />
          ${metadata.text && html`<${Fold} title=${t("metadata.raw")}><pre class="raw" tabindex="0">${metadata.text}</pre><//>`}
        </div>
      </div>
    <//>
  `;
}
