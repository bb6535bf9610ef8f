// The metadata of a model file: how it was trained, and whatever else its author wrote into it.
import { html, useState } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { Button } from "../parts/button.js";

const MAX_SHOWN = 240;

/** JSON in a value is shown indented. */
function readable(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  if (!/^[[{]/.test(text)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 1);
  } catch {
    return text;
  }
}

function Value({ value }) {
  const [whole, setWhole] = useState(false);
  const text = readable(value);
  if (text.length <= MAX_SHOWN) return html`<dd>${text}</dd>`;
  return html`
    <dd>
      ${whole ? html`<pre tabindex="0">${text}</pre>` : `${text.slice(0, MAX_SHOWN)}…`}
      <${Button} small kind="quiet" onClick=${() => setWhole(!whole)}>${whole ? t("inspect.less") : t("inspect.more")}<//>
    </dd>
  `;
}

export const MetadataList = ({ entries }) => html`
  <dl class="model-metadata">
    ${entries.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><${Value} value=${value} /></div>`)}
  </dl>
`;
