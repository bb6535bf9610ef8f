// A message where it arises: an error, a warning, or a word of advice.
import { html } from "../lib/html.js";
import { Icon } from "./icon.js";

/** @param {{kind?: "error"|"warning"|"info", children: any}} props */
export const Message = ({ kind = "error", children }) => html`
  <div class=${`message ${kind}`} role=${kind === "error" ? "alert" : undefined}>
    <${Icon} name=${kind === "info" ? "spark" : "warning"} size=${18} />
    <div>${children}</div>
  </div>
`;
