// The seed: random unless one is given; the last one can be kept.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { useStore } from "../lib/store.js";
import { jobs, listJobs } from "../state/jobs.js";
import { IconButton } from "./button.js";
import { Field } from "./field.js";

export function SeedField({ form }) {
  const seed = useStore(form.values, (values) => values.seed);
  const error = useStore(form.errors, (errors) => errors.seed);
  const last = useStore(jobs, ({ byId }) => listJobs(byId).find((job) => job.state === "done" && job.images[0])?.images[0].seed);
  const fixed = seed !== undefined && seed >= 0;
  const type = (event) => form.set("seed", event.target.value === "" ? undefined : Number(event.target.value));
  return html`
    <${Field} label=${t("option.seed")} error=${error}>
      ${(attributes) => html`
        <div class="with-buttons">
          <input type="number" ...${attributes} min="0" step="1" value=${fixed ? seed : ""} placeholder=${t("seed.random")} onInput=${type} />
          <${IconButton} icon="lock" kind="plain" label=${t("seed.keep")} disabled=${last === undefined} onClick=${() => form.set("seed", last)} />
          <${IconButton} icon="dice" kind="plain" label=${t("seed.randomise")} onClick=${() => form.set("seed", undefined)} />
        </div>
      `}
    <//>
  `;
}
