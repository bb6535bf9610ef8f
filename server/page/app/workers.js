// How many machines draw, and a window that lists them, with the jobs that were set aside. Nothing of it is there with a server that
// draws by itself.
import { html, useEffect } from "../lib/html.js";
import { count, duration, moment } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { useStore } from "../lib/store.js";
import { Button } from "../parts/button.js";
import { Dialog } from "../parts/dialog.js";
import { Message } from "../parts/message.js";
import { server } from "../state/server.js";
import { loadWorkers, workers } from "../state/workers.js";

/** Milliseconds from one question to the next: while somebody reads the list, and otherwise. */
const READ_INTERVAL = 3000;
const IDLE_INTERVAL = 30000;

/** `front.job.part` as people count. */
function jobOf(key) {
  const [job, part] = key.split(".").slice(-2);
  return t("workers.part", { job, part: String(Number(part) + 1) });
}

function Worker({ worker }) {
  const { name, machine, devices, isa, loaded, drawing, done, models, heard_seconds_ago: heard = 0 } = worker;
  const facts = [
    machine && machine !== name && t("workers.machine", { machine }),
    `${devices.join(", ")} (${isa})`,
    t("workers.files", { n: Object.keys(models).length }),
    loaded.length > 0 && t("workers.loaded", { list: loaded.join(", ") }),
    t("workers.done", { count: count(done) }),
    t("workers.heard", { time: duration(heard) }),
  ];
  return html`
    <li class="worker">
      <span class="worker-name">${name}
        <span class=${`badge ${drawing.length > 0 ? "accent" : ""}`}>${drawing.length > 0 ? drawing.map(jobOf).join("; ") : t("workers.idle")}</span></span>
      <span class="model-facts">${facts.filter(Boolean).join(" · ")}</span>
    </li>
  `;
}

function Parked({ list }) {
  if (list.length === 0) return null;
  return html`
    <section class="parked" aria-label=${t("workers.parked")}>
      <h3>${t("workers.parked")}</h3>
      <p class="hint">${t("workers.parkedHint")}</p>
      <ul>
        ${list.map(
          ({ job, reason, time }) => html`<li key=${job}><span class="model-facts">${jobOf(job)} · ${moment(time)}</span><span>${reason}</span></li>`,
        )}
      </ul>
    </section>
  `;
}

/** The window, which is no part of the bar. */
export function WorkerList() {
  const { list, parked, failure, open } = useStore(workers);
  if (!open) return null;
  return html`
    <${Dialog} title=${t("workers.title")} onClose=${() => workers.update({ open: false })}>
      ${failure && html`<${Message}>${failure.message}<//>`}
      ${list?.length === 0 && html`<${Message} kind="warning">${t("workers.none")}<//>`}
      <ul class="workers">${list?.map((worker) => html`<${Worker} key=${worker.name} worker=${worker} />`)}</ul>
      <${Parked} list=${parked} />
    <//>
  `;
}

function Machines() {
  const { list, parked, failure, open } = useStore(workers);
  useEffect(() => {
    loadWorkers();
    const timer = setInterval(() => document.hidden || loadWorkers(), open ? READ_INTERVAL : IDLE_INTERVAL);
    return () => clearInterval(timer);
  }, [open]);
  if (!list && !failure) return null;
  const icon = failure || list.length === 0 || parked.length > 0 ? "warning" : "models";
  const n = list?.length ?? 0;
  const words = t("workers.count", { n });
  // On a phone there is room for the number alone.
  return html`
    <${Button} small icon=${icon} class="machines" aria-haspopup="dialog" aria-label=${words} onClick=${() => workers.update({ open: true })}>
      <span class="machines-words">${words}</span><span class="machines-number">${count(n)}</span>
    <//>
  `;
}

export function Workers() {
  const shared = useStore(server, ({ info }) => info?.shared_queue ?? false);
  return shared ? html`<${Machines} />` : null;
}
