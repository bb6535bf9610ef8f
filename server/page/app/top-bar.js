// The bar at the top: the tabs, the queue, the language and the colour scheme. On a phone the tabs are at the bottom.
import { html, useState } from "../lib/html.js";
import { LANGUAGES, changeLanguage, language, t, tx } from "../lib/i18n.js";
import { TABS } from "../lib/router.js";
import { useStore } from "../lib/store.js";
import { IconButton } from "../parts/button.js";
import { Icon } from "../parts/icon.js";
import { jobs } from "../state/jobs.js";
import { Workers } from "./workers.js";

const THEMES = ["auto", "light", "dark"];
const THEME_ICONS = { auto: "auto", light: "sun", dark: "moon" };

function Theme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme);
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  const change = () => {
    document.documentElement.dataset.theme = next;
    setTheme(next);
    try {
      localStorage.setItem("latent-theme", next);
    } catch {
      // Without storage the choice holds until the page is left.
    }
  };
  return html`<${IconButton} icon=${THEME_ICONS[theme]} label=${t("theme.is", { theme: tx("theme", theme) })} onClick=${change} />`;
}

function Language() {
  const tag = useStore(language);
  return html`
    <select class="language" aria-label=${t("nav.language")} value=${tag} onChange=${(event) => changeLanguage(event.target.value)}>
      ${LANGUAGES.map(([value, name]) => html`<option key=${value} value=${value} lang=${value}>${name}</option>`)}
    </select>
  `;
}

function Queue() {
  const { queued, running } = useStore(jobs);
  if (queued + running === 0) return null;
  return html`<span class="queue" title=${t("nav.queue", { queued, running })}><span class="spinner" aria-hidden="true"></span>${t("nav.jobs", { n: queued + running })}</span>`;
}

export function TopBar({ tab }) {
  return html`
    <header class="top-bar">
      <a class="brand" href="#/draw" aria-label="Latent"><img src="favicon.svg" alt="" width="26" height="26" /><span aria-hidden="true">Latent</span></a>
      <nav aria-label=${t("nav.tabs")}>
        ${TABS.map(
          (name) => html`<a key=${name} href=${`#/${name}`} aria-current=${name === tab ? "page" : undefined}><${Icon} name=${name} /><span>${tx("tab", name)}</span></a>`,
        )}
      </nav>
      <div class="top-end"><${Queue} /><${Workers} /><${Language} /><${Theme} /></div>
    </header>
  `;
}
