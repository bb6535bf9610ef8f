// A part of a form that is folded until it is needed; it says how many of its settings are not the defaults.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { Icon } from "./icon.js";

export const Fold = ({ title, changed = 0, open, children }) => html`
  <details class="fold" open=${open}>
    <summary>
      <${Icon} name="chevron" size=${16} />
      <span>${title}</span>
      ${changed > 0 && html`<span class="badge accent">${t("field.changed", { n: changed })}</span>`}
    </summary>
    <div class="fold-body">${children}</div>
  </details>
`;
