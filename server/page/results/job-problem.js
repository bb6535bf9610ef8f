// What a job that has ended says: why it failed, and its warnings.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { Button } from "../parts/button.js";
import { Message } from "../parts/message.js";
import { dismiss } from "../state/jobs.js";

export const JobProblem = ({ job }) => html`
  ${job.state === "failed" &&
  html`<div class="job-problem">
    <${Message}>
      <strong>${t("job.failed")}</strong>
      <p>${job.error?.message ?? t("job.failedUnknown")}</p>
      ${job.prompt && html`<p class="hint">${job.prompt}</p>`}
    <//>
    <${Button} small icon="close" onClick=${() => dismiss(job.id)}>${t("job.dismiss")}<//>
  </div>`}
  ${job.warnings.length > 0 &&
  html`<${Message} kind="warning">${job.warnings.map((warning) => html`<p key=${warning}>${warning}</p>`)}<//>`}
`;
