// Buttons: with a word, or with an icon alone, whose word is then its name for screen readers and its tooltip.
import { html } from "../lib/html.js";
import { Icon } from "./icon.js";

/** @param {{icon?: string, kind?: "plain"|"primary"|"quiet"|"danger", small?: boolean}} props and those of `<button>` */
export const Button = ({ icon, kind = "plain", small, class: extra = "", children, ...rest }) => html`
  <button type="button" class=${`button ${kind} ${small ? "small" : ""} ${extra}`} ...${rest}>
    ${icon && html`<${Icon} name=${icon} size=${small ? 16 : 18} />`}${children && html`<span>${children}</span>`}
  </button>
`;

/** @param {{icon: string, label: string, pressed?: boolean}} props and those of `<button>` */
export const IconButton = ({ icon, label, pressed, kind = "quiet", class: extra = "", size = 18, ...rest }) => html`
  <button type="button" class=${`button icon-only ${kind} ${extra}`} aria-label=${label} title=${label} aria-pressed=${pressed} ...${rest}>
    <${Icon} name=${icon} size=${size} />
  </button>
`;
