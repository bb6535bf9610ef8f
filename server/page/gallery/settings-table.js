// The settings of an image, as its metadata say them, for any program.
import { html } from "../lib/html.js";
import { t, txOr } from "../lib/i18n.js";

const HIDDEN = new Set(["prompt", "negative_prompt"]);
const text = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value));

export function SettingsTable({ metadata }) {
  const { prompt, negative_prompt: negative, settings = {}, program } = metadata;
  const entries = Object.entries(settings).filter(([name, value]) => !HIDDEN.has(name) && value !== null && value !== "");
  return html`
    <dl class="metadata">
      ${prompt && html`<div class="whole"><dt>${t("option.prompt")}</dt><dd class="prompt-text">${prompt}</dd></div>`}
      ${negative && html`<div class="whole"><dt>${t("option.negative_prompt")}</dt><dd class="prompt-text">${negative}</dd></div>`}
      ${program && html`<div><dt>${t("metadata.program")}</dt><dd>${program}</dd></div>`}
      ${entries.map(([name, value]) => html`<div key=${name}><dt>${txOr("option", name, name.replaceAll("_", " "))}</dt><dd>${text(value)}</dd></div>`)}
    </dl>
  `;
}
