// Two images on top of each other, with a slider between them: before on the left, after on the right.
import { html, useState } from "../lib/html.js";
import { t } from "../lib/i18n.js";

/** @param {{before: string, after: string, width: number, height: number, beforeLabel?: string, afterLabel?: string}} props */
export function Compare({ before, after, width, height, beforeLabel = t("compare.before"), afterLabel = t("compare.after") }) {
  const [part, setPart] = useState(50);
  return html`
    <div class="compare" style=${{ aspectRatio: `${width} / ${height}`, "--part": `${part}%` }}>
      <img class="compare-after" src=${after} alt=${afterLabel} />
      <img class="compare-before" src=${before} alt=${beforeLabel} />
      <span class="compare-label left" aria-hidden="true">${beforeLabel}</span>
      <span class="compare-label right" aria-hidden="true">${afterLabel}</span>
      <span class="compare-line" aria-hidden="true"></span>
      <input type="range" min="0" max="100" value=${part} aria-label=${t("compare.slider")} onInput=${(event) => setPart(Number(event.target.value))} />
    </div>
  `;
}
