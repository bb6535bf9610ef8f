// What was drawn and is being drawn: one job large, all of them in a strip below.
import { html, useState } from "../lib/html.js";
import { t, tx } from "../lib/i18n.js";
import { useStore } from "../lib/store.js";
import { jobs, listJobs } from "../state/jobs.js";
import { SOURCE } from "../state/view.js";
import { JobImages } from "./job-images.js";
import { JobProgress } from "./job-progress.js";
import { JobProblem } from "./job-problem.js";
import { Strip } from "./strip.js";

const isLive = (job) => job.state === "queued" || job.state === "running";

/** The job to show: the chosen one, or the one that runs, or the next, or the newest. */
function shownJob(list, id) {
  if (id === SOURCE) return undefined;
  return list.find((job) => job.id === id) ?? list.find((job) => job.state === "running") ?? list.filter((job) => job.state === "queued").at(-1) ?? list[0];
}

/** @param {{verbs: string[], view: import("../lib/store.js").Store<{id: string|null, index: number}>, empty: any}} props what is shown before there is a result */
export function Results({ verbs, view, empty }) {
  const { byId } = useStore(jobs);
  const { id, index } = useStore(view);
  const [before, setBefore] = useState(null);
  const list = listJobs(byId).filter((job) => verbs.includes(job.verb) && (job.state !== "cancelled" || job.images.length > 0));
  const job = shownJob(list, id);
  const choose = (chosen, at, image) => {
    if (before && image) setBefore({ ...before, image });
    else view.set({ id: chosen.id, index: at });
  };
  return html`
    <section class="results" aria-label=${t("results.title")}>
      <div class="stage">
        ${!job && empty}
        ${job && isLive(job) && html`<${JobProgress} key=${job.id} job=${job} />`}
        ${job && !isLive(job) && html`<${JobProblem} job=${job} />`}
        ${job &&
        !isLive(job) &&
        job.images.length > 0 &&
        html`<${JobImages} key=${job.id} job=${job} index=${Math.min(index, job.images.length - 1)} list=${list} before=${before} setBefore=${setBefore}
          onIndex=${(at) => view.set({ id: job.id, index: at })} />`}
      </div>
      <${Strip} list=${list} shown=${job} index=${index} onChoose=${choose} />
      <${Announcement} job=${job} />
    </section>
  `;
}

/** What a screen reader says when something begins or ends. */
function Announcement({ job }) {
  const text = job ? tx("announce", job.state, { n: job.images.length }) : "";
  return html`<p class="unseen" role="status" aria-live="polite">${text}</p>`;
}
