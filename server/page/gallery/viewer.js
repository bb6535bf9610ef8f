// One image large, over the page, with its settings; arrow keys lead to the next one.
import { html, useEffect, useState } from "../lib/html.js";
import { bytes, moment } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { sizeClass } from "../lib/image-source.js";
import { useStore } from "../lib/store.js";
import { IconButton } from "../parts/button.js";
import { Dialog } from "../parts/dialog.js";
import { Fold } from "../parts/fold.js";
import { ImageActions } from "../results/image-actions.js";
import { metadataOf, viewer } from "../state/actions.js";
import { gallery } from "../state/gallery.js";
import { imageUrl } from "../state/jobs.js";
import { SettingsTable } from "./settings-table.js";

function Details({ image }) {
  const [metadata, setMetadata] = useState(null);
  useEffect(() => {
    let current = true;
    setMetadata(null);
    metadataOf(image.name).then((found) => current && setMetadata(found), () => {});
    return () => {
      current = false;
    };
  }, [image.name]);
  return html`
    <p class="hint">${[`${image.width} × ${image.height}`, image.bytes && bytes(image.bytes), moment(image.created)].filter(Boolean).join(" · ")}</p>
    ${metadata && html`<${SettingsTable} metadata=${metadata} />`}
    ${metadata?.text && html`<${Fold} title=${t("metadata.raw")}><pre class="raw" tabindex="0">${metadata.text}</pre><//>`}
  `;
}

export function Viewer() {
  const shown = useStore(viewer);
  const all = useStore(gallery, (state) => state.images);
  if (!shown) return null;
  const images = shown.gallery ? all ?? shown.images : shown.images;
  const index = Math.min(shown.index, images.length - 1);
  const image = images[index];
  if (!image) {
    queueMicrotask(() => viewer.set(null));
    return null;
  }
  const move = (by) => images[index + by] && viewer.set({ ...shown, index: index + by });
  const onKeyDown = (event) => {
    if (event.target.closest("[role=menu], input")) return;
    if (event.key === "ArrowLeft") move(-1);
    if (event.key === "ArrowRight") move(1);
  };
  return html`
    <${Dialog} title=${image.name} wide onClose=${() => viewer.set(null)} onKeyDown=${onKeyDown}>
      <div class="viewer">
        <div class="viewer-image">
          <img class=${sizeClass(image)} src=${imageUrl(image)} width=${image.width} height=${image.height} alt=${image.prompt || image.name} />
          ${index > 0 && html`<${IconButton} icon="chevron" kind="plain" class="previous" label=${t("viewer.previous")} onClick=${() => move(-1)} />`}
          ${index < images.length - 1 && html`<${IconButton} icon="chevron" kind="plain" class="next" label=${t("viewer.next")} onClick=${() => move(1)} />`}
        </div>
        <div class="viewer-side">
          <${ImageActions} image=${image} onDeleted=${() => !shown.gallery && viewer.set(null)} />
          <${Details} image=${image} />
        </div>
      </div>
    <//>
  `;
}
