// The results as a strip of small images, the newest first; jobs that wait and run are among them.
import { html } from "../lib/html.js";
import { percent } from "../lib/format.js";
import { t, tx } from "../lib/i18n.js";
import { Icon } from "../parts/icon.js";
import { hasEnded, thumbnailUrl } from "../state/jobs.js";

function tilesOf(job) {
  if (hasEnded(job) && job.state !== "failed") return job.images.map((image, index) => ({ job, image, index }));
  return [{ job, image: null, index: 0 }];
}

function Tile({ tile, chosen, onChoose }) {
  const { job, image, index } = tile;
  const prompt = image?.prompt ?? job.prompt ?? "";
  const label = image ? prompt || image.name : `${tx("state", job.state)}: ${prompt}`;
  let inside = html`<${Icon} name=${job.state === "failed" ? "warning" : "clock"} size=${22} />`;
  if (image) inside = html`<img src=${thumbnailUrl(image)} alt="" loading="lazy" />`;
  else if (job.state === "running") {
    inside = html`${job.preview ? html`<img src=${job.preview} alt="" />` : html`<${Icon} name="spark" size=${22} />`}
      <span class="tile-progress" data-part=${percent(job.progress ?? 0)}></span>`;
  }
  return html`
    <li>
      <button type="button" class=${`tile ${job.state}`} aria-current=${chosen ? "true" : undefined} aria-label=${label} title=${label}
        onClick=${() => onChoose(job, index, image)}>${inside}</button>
    </li>
  `;
}

export function Strip({ list, shown, index, onChoose }) {
  const tiles = list.flatMap(tilesOf);
  if (tiles.length === 0) return null;
  return html`
    <ul class="strip" aria-label=${t("results.strip")}>
      ${tiles.map(
        (tile) => html`<${Tile} key=${`${tile.job.id} ${tile.image?.name ?? ""}`} tile=${tile}
          chosen=${tile.job.id === shown?.id && (!tile.image || tile.index === Math.min(index, tile.job.images.length - 1))} onChoose=${onChoose} />`,
      )}
    </ul>
  `;
}
