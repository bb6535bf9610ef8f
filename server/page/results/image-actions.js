// What can be done with an image: the row of buttons under it.
import { html } from "../lib/html.js";
import { t, tx } from "../lib/i18n.js";
import { galleryImage } from "../lib/image-source.js";
import { MODES } from "../lib/modes.js";
import { Button, IconButton } from "../parts/button.js";
import { Icon } from "../parts/icon.js";
import { Menu } from "../parts/menu.js";
import { copyLink, deleteImage, replay, sendTo, takeSettingsOf, vary } from "../state/actions.js";
import { imageUrl } from "../state/jobs.js";

/** @param {{image: any, onCompare?: () => void, comparing?: boolean, onDeleted?: () => void}} props */
export function ImageActions({ image, onCompare, comparing = false, onDeleted = () => {} }) {
  const variants = [
    { label: t("vary.seed"), icon: "dice", run: () => vary(image) },
    { label: t("vary.slightly"), icon: "vary", run: () => vary(image, 0.35) },
    { label: t("vary.strongly"), icon: "vary", run: () => vary(image, 0.7) },
    { label: t("vary.replay"), icon: "replay", run: () => replay(galleryImage(image)) },
  ];
  const targets = MODES.map(([mode, icon]) => ({ label: tx("mode", mode), icon, run: () => sendTo(image, mode) }));
  const erase = async () => {
    if (await deleteImage(image)) onDeleted();
  };
  return html`
    <div class="actions">
      <${Button} small icon="settings" onClick=${() => takeSettingsOf(image)}>${t("action.useSettings")}<//>
      <${Menu} small icon="vary" label=${t("action.vary")} items=${variants} />
      <${Menu} small icon="send" label=${t("action.sendTo")} items=${targets} />
      ${onCompare && html`<${Button} small icon="compare" aria-pressed=${comparing} onClick=${onCompare}>${t("action.compare")}<//>`}
      <span class="actions-end">
        <${IconButton} icon="link" label=${t("action.copyLink")} onClick=${() => copyLink(image)} />
        <a class="button icon-only quiet" href=${imageUrl(image)} download=${image.name} aria-label=${t("action.download")} title=${t("action.download")}><${Icon} name="download" /></a>
        <${IconButton} icon="trash" label=${t("action.delete")} onClick=${erase} />
      </span>
    </div>
  `;
}
