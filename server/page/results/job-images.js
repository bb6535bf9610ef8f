// The images of a job that has ended: one large, or all as a grid, or two compared.
import { html, useState } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { Compare } from "../parts/compare.js";
import { IconButton } from "../parts/button.js";
import { ImageActions } from "./image-actions.js";
import { sizeClass } from "../lib/image-source.js";
import { imageUrl } from "../state/jobs.js";
import { viewer } from "../state/actions.js";

/** The image before: what the job started from, or else the result before it. */
function imageBefore(job, list, image) {
  if (job.before) return { url: job.before.url, name: job.before.name };
  const all = list.flatMap((each) => each.images);
  const earlier = all[all.findIndex((each) => each.name === image.name) + 1] ?? all.find((each) => each.name !== image.name);
  return earlier && { url: imageUrl(earlier), name: earlier.name };
}

function Grid({ job, onIndex }) {
  return html`
    <div class="batch">
      ${job.images.map(
        (image, at) => html`<button type="button" key=${image.name} onClick=${() => onIndex(at)}>
          <img src=${imageUrl(image)} alt=${t("image.ofSeed", { seed: String(image.seed) })} width=${image.width} height=${image.height} />
        </button>`,
      )}
    </div>
  `;
}

export function JobImages({ job, index, list, before, setBefore, onIndex }) {
  const { images } = job;
  const [grid, setGrid] = useState(images.length > 1);
  const image = images[index];
  const prompt = image.prompt ?? job.prompt ?? "";
  const other = imageBefore(job, list, image);
  const open = () => viewer.set({ images, index });
  if (grid && images.length > 1) {
    return html`<${Grid} job=${job} onIndex=${(at) => { onIndex(at); setGrid(false); }} />`;
  }
  const shown = before?.image ? { url: imageUrl(before.image), name: before.image.name } : other;
  return html`
    <figure class="result">
      <div class="result-image">
        ${before && shown
          ? html`<${Compare} before=${shown.url} after=${imageUrl(image)} width=${image.width} height=${image.height} />`
          : html`<button type="button" class="open-image" aria-label=${t("image.open")} onClick=${open}>
              <img class=${sizeClass(image)} src=${imageUrl(image)} width=${image.width} height=${image.height} alt=${prompt || image.name} />
            </button>`}
        ${images.length > 1 && html`<${IconButton} icon="gallery" kind="plain" class="to-grid" label=${t("results.grid")} onClick=${() => setGrid(true)} />`}
      </div>
      <figcaption>
        <p class="prompt-line" title=${prompt}>${prompt}</p>
        <p class="hint">
          ${image.width} × ${image.height}${image.seed === null ? "" : ` · ${t("option.seed")} ${image.seed}`}${images.length > 1 ? ` · ${t("results.number", { n: index + 1, all: images.length })}` : ""}
          ${before && !job.before ? ` · ${t("compare.choose")}` : ""}
        </p>
      </figcaption>
      <${ImageActions} image=${{ prompt, ...image }} comparing=${Boolean(before)} onCompare=${other ? () => setBefore(before ? null : {}) : undefined} />
    </figure>
  `;
}
