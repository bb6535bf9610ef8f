// The Plots tab: one image for each pair of values of two settings, on one sheet. Everything else is as on the Draw tab.
import { html, useState } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { axisValues } from "../lib/axes.js";
import { Store, useStore } from "../lib/store.js";
import { onCtrlEnter } from "../lib/keys.js";
import { DrawBar } from "../parts/draw-bar.js";
import { Icon } from "../parts/icon.js";
import { PromptBox } from "../parts/prompt-box.js";
import { SettingsPanel } from "../parts/settings-panel.js";
import { Results } from "../results/results.js";
import { send, setFailure } from "../state/send.js";
import { drawForm } from "../state/settings.js";
import { follow, plotView } from "../state/view.js";
import { Axis } from "./axis.js";

const VERBS = ["grid"];
const axes = new Store({ x: { option: "steps", text: "5, 10, 20" }, y: { option: "cfg_scale", text: "" } });

/** An axis as the server wants it. */
const axisOf = ({ option, text }) => ({ option: option.replaceAll("_", "-"), values: axisValues(text) });

export function PlotsTab() {
  const [busy, setBusy] = useState(false);
  const { x, y } = useStore(axes);
  const errors = useStore(drawForm.errors);
  const [across, down] = [axisValues(x.text).length, axisValues(y.text).length];
  const count = across * Math.max(1, down);
  const set = (name) => (axis) => {
    axes.update({ [name]: axis });
    drawForm.clearError(name);
  };
  const draw = async () => {
    if (busy) return;
    if (across === 0) return void setFailure(drawForm, t("plots.needValues"));
    setBusy(true);
    const id = await send(drawForm, "grid", { x: axisOf(x), y: down > 0 ? axisOf(y) : undefined, batch_count: undefined });
    setBusy(false);
    if (id) follow(plotView);
  };
  return html`
    <div class="workbench" onKeyDown=${onCtrlEnter(draw)}>
      <section class="side" aria-label=${t("draw.settings")}>
        <div class="side-scroll">
          <p class="hint mode-hint">${t("plots.hint")}</p>
          <${Axis} title=${t("plots.x")} axis=${x} error=${errors.x} onChange=${set("x")} />
          <${Axis} title=${t("plots.y")} axis=${y} error=${errors.y} onChange=${set("y")} />
          <p class="plot-count">${t("plots.count", { n: count })}</p>
          <${PromptBox} form=${drawForm} name="prompt" label=${t("option.prompt")} placeholder=${t("prompt.placeholder")} />
          <${PromptBox} form=${drawForm} name="negative_prompt" label=${t("option.negative_prompt")} placeholder=${t("prompt.negativePlaceholder")} rows=${1} />
          <${SettingsPanel} form=${drawForm} verb="grid" />
        </div>
        <${DrawBar} form=${drawForm} label=${t("plots.button")} busy=${busy} count=${false} onDraw=${draw} />
      </section>
      <${Results} verbs=${VERBS} view=${plotView} empty=${html`<div class="empty"><${Icon} name="plots" size=${44} /><p>${t("plots.empty")}</p></div>`} />
    </div>
  `;
}
