// The Models tab: what is in the folders, where to put more, and what a file is, whether it is in them or not.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { useStore } from "../lib/store.js";
import { DropZone } from "../parts/drop-zone.js";
import { Message } from "../parts/message.js";
import { inspected } from "../state/actions.js";
import { server } from "../state/server.js";
import { Folders } from "./folders.js";
import { Inspection } from "./inspection.js";
import { ModelList } from "./model-list.js";

export function ModelsTab() {
  const { models, info } = useStore(server);
  const chosen = useStore(inspected);
  const onFile = (file) => inspected.set({ name: file.name, file });
  return html`
    <div class="page models-page">
      <section class="models-left" aria-label=${t("models.inFolders")}>
        <${DropZone} label=${t("models.drop")} hint=${t("models.dropHint")} accept=".safetensors" icon="models" onFile=${onFile} />
        <${ModelList} models=${models} chosen=${chosen?.file ? null : chosen?.name} onChoose=${(name) => inspected.set({ name })} />
        ${models?.length <= 1 && html`<${Message} kind="info">${t("models.onlyBuiltIn")}<//>`}
        <${Folders} folders=${info?.model_folders ?? []} />
      </section>
      <section class="models-right" aria-label=${t("inspect.title")}>
        ${chosen
          ? html`<${Inspection} key=${chosen.file ? `${chosen.name} ${chosen.file.lastModified} ${chosen.file.size}` : chosen.name} chosen=${chosen} />`
          : html`<div class="empty"><p>${t("inspect.empty")}</p></div>`}
      </section>
    </div>
  `;
}
