// The frame of the page: the bar at the top, the chosen tab, and what lies over them.
import { html, useEffect } from "../lib/html.js";
import { language, t, tx } from "../lib/i18n.js";
import { route } from "../lib/router.js";
import { useStore } from "../lib/store.js";
import { ChangeTab } from "../change/change-tab.js";
import { DrawTab } from "../draw/draw-tab.js";
import { DroppedImage } from "../gallery/dropped-image.js";
import { GalleryTab } from "../gallery/gallery-tab.js";
import { Viewer } from "../gallery/viewer.js";
import { ModelsTab } from "../models/models-tab.js";
import { Toasts } from "../parts/toasts.js";
import { PlotsTab } from "../plots/plots-tab.js";
import { server } from "../state/server.js";
import { useDrops } from "./drops.js";
import { Login } from "./login.js";
import { TopBar } from "./top-bar.js";
import { Unreachable } from "./unreachable.js";
import { WorkerList } from "./workers.js";

const CONTENTS = { draw: DrawTab, change: ChangeTab, gallery: GalleryTab, models: ModelsTab, plots: PlotsTab };

function Page() {
  const tab = useStore(route, (value) => value.tab);
  const needsKey = useStore(server, (state) => state.needsKey);
  const Content = CONTENTS[tab];
  useDrops();
  useEffect(() => {
    document.title = `${tx("tab", tab)} · Latent`;
  }, [tab]);
  if (needsKey) return html`<${Login} />`;
  return html`
    <a class="skip" href="#content" onClick=${(event) => { event.preventDefault(); document.getElementById("content").focus(); }}>${t("nav.skip")}</a>
    <${TopBar} tab=${tab} />
    <${Unreachable} />
    <main id="content" tabindex="-1">
      <h1 class="unseen">${tx("tab", tab)}</h1>
      <${Content} />
    </main>
    <${Viewer} />
    <${WorkerList} />
    <${DroppedImage} />
    <div class="drop-cover" aria-hidden="true"><p>${t("drop.cover")}</p></div>
  `;
}

export function App() {
  const tag = useStore(language);
  return html`<${Page} key=${tag} /><${Toasts} />`;
}
