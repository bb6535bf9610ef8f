// A job that waits or runs: its preview, how far it is, how long it will take, and a button to cancel it.
import { html } from "../lib/html.js";
import { bytes, duration, percent } from "../lib/format.js";
import { t, txOr } from "../lib/i18n.js";
import { Button } from "../parts/button.js";
import { Icon } from "../parts/icon.js";
import { cancel, imageUrl } from "../state/jobs.js";
import { toastError } from "../state/toasts.js";

function statusOf(job) {
  if (job.state === "queued") return job.position > 0 ? t("job.before", { n: job.position }) : t("job.next");
  const { loading } = job;
  if (loading?.total) return t("job.loading", { part: loading.component, read: bytes(loading.read), total: bytes(loading.total) });
  if (job.stage === "sampling" && job.steps) {
    const { step = 0, steps, block, blocks } = job;
    return block ? t("job.block", { step, steps, block, blocks }) : t("job.step", { step, steps });
  }
  return txOr("stage", job.stage, t("job.starting"));
}

function Live({ job }) {
  const { preview, images } = job;
  const drawing = preview
    ? html`<img class="live" src=${preview} alt=${t("job.preview")} />`
    : html`<div class="blank" aria-hidden="true"><${Icon} name=${job.state === "queued" ? "clock" : "spark"} size=${32} /></div>`;
  if (images.length === 0) return html`<div class="live-frame">${drawing}</div>`;
  return html`
    <div class="batch">
      ${images.map((image) => html`<img key=${image.name} src=${imageUrl(image)} alt=${t("image.ofSeed", { seed: String(image.seed) })} />`)}
      ${drawing}
    </div>
  `;
}

export function JobProgress({ job }) {
  const running = job.state === "running";
  const part = job.progress ?? 0;
  return html`
    <div class="job-live">
      <${Live} job=${job} />
      <div class="job-bar">
        <progress max="1" value=${running ? part : 0} aria-label=${t("job.progress")}></progress>
        <div class="job-line">
          <span class="job-status">${statusOf(job)}</span>
          <span class="job-eta">
            ${running && percent(part)}${job.eta_seconds ? ` · ${t("job.left", { time: duration(job.eta_seconds) })}` : ""}
          </span>
          <${Button} small icon="close" onClick=${() => cancel(job.id).catch(toastError)}>${t("job.cancel")}<//>
        </div>
      </div>
    </div>
  `;
}
