// The Draw tab: a prompt and its settings on the left, what comes of them on the right.
import { html, useEffect, useState } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { record, route } from "../lib/router.js";
import { useStore } from "../lib/store.js";
import { onCtrlEnter } from "../lib/keys.js";
import { DrawBar } from "../parts/draw-bar.js";
import { Icon } from "../parts/icon.js";
import { PromptBox } from "../parts/prompt-box.js";
import { SettingsPanel } from "../parts/settings-panel.js";
import { Results } from "../results/results.js";
import { send } from "../state/send.js";
import { modelNamed, server } from "../state/server.js";
import { drawForm, fromParams, toParams } from "../state/settings.js";
import { drawView, follow } from "../state/view.js";

/** Prompts that the built-in model, which knows a few hundred simple things, draws well. */
const EXAMPLES = ["a red apple", "a yellow star", "a crescent moon", "sushi", "an ice cream cone", "a blue book"];
const VERBS = ["txt2img", "img2img", "inpaint", "outpaint", "edit", "upscale", "replay"];

/** Takes settings from the address, and writes them there. */
function useAddress() {
  const { params } = useStore(route);
  const values = useStore(drawForm.values);
  useEffect(() => {
    if (String(params)) drawForm.setAll(fromParams(params));
  }, [params]);
  useEffect(() => record("draw", "", toParams(values)), [values]);
}

/** Before the first image: what to do, and for the small built-in model something that it can draw. */
function Empty() {
  const state = useStore(server);
  const name = useStore(drawForm.values, (values) => values.model);
  const builtIn = modelNamed(state, name)?.built_in;
  return html`
    <div class="empty">
      <${Icon} name="image" size=${44} />
      <p>${t("draw.empty")}</p>
      ${builtIn && html`<p class="hint">${t("draw.builtIn")}</p>`}
      ${builtIn &&
      html`<div class="examples">
        ${EXAMPLES.map((text) => html`<button type="button" key=${text} class="chip" lang="en" onClick=${() => drawForm.set("prompt", text)}>${text}</button>`)}
      </div>`}
    </div>
  `;
}

export function DrawTab() {
  const [busy, setBusy] = useState(false);
  useAddress();
  const draw = async () => {
    if (busy) return;
    setBusy(true);
    const id = await send(drawForm, "txt2img");
    setBusy(false);
    if (id) follow(drawView);
  };
  return html`
    <div class="workbench" onKeyDown=${onCtrlEnter(draw)}>
      <section class="side" aria-label=${t("draw.settings")}>
        <div class="side-scroll">
          <${PromptBox} form=${drawForm} name="prompt" label=${t("option.prompt")} placeholder=${t("prompt.placeholder")} autofocus />
          <${PromptBox} form=${drawForm} name="negative_prompt" label=${t("option.negative_prompt")} placeholder=${t("prompt.negativePlaceholder")} rows=${1} />
          <${SettingsPanel} form=${drawForm} verb="txt2img" />
        </div>
        <${DrawBar} form=${drawForm} label=${t("draw.button")} busy=${busy} onDraw=${draw} />
      </section>
      <${Results} verbs=${VERBS} view=${drawView} empty=${html`<${Empty} />`} />
    </div>
  `;
}
