// The model files of the folders, by kind and family.
import { html } from "../lib/html.js";
import { CONTROL_KINDS } from "../lib/options.js";
import { bytes } from "../lib/format.js";
import { t, txOr } from "../lib/i18n.js";
import { useStore } from "../lib/store.js";
import { Icon } from "../parts/icon.js";
import { server } from "../state/server.js";

const KINDS = ["model", "lora", "embedding", "vae", "taesd", ...CONTROL_KINDS, "upscaler", "unet", "text-encoder"];

/** Memory for the model's own size, or the nearest known. */
function memoryOf(model) {
  const sides = Object.keys(model.memory ?? {}).map(Number);
  if (sides.length === 0) return null;
  const own = model.defaults?.width ?? 512;
  const side = sides.reduce((best, each) => (Math.abs(each - own) < Math.abs(best - own) ? each : best));
  return t("models.needs", { memory: bytes(model.memory[side]), side });
}

function Row({ model, chosen, onChoose }) {
  const facts = [txOr("variant", model.variant, null), bytes(model.bytes), memoryOf(model)];
  return html`
    <li>
      <button type="button" class="model-row" aria-current=${chosen ? "true" : undefined} onClick=${() => onChoose(model.name)}>
        <span class="model-name">${model.built_in ? t("models.builtIn", { name: model.name }) : model.name}
          ${model.loaded && html`<span class="badge accent">${t("models.loaded")}</span>`}</span>
        ${model.problem
          ? html`<span class="model-facts problem"><${Icon} name="warning" size=${14} />${model.problem}</span>`
          : html`<span class="model-facts">${facts.filter(Boolean).join(" · ")}</span>`}
      </button>
    </li>
  `;
}

function Family({ name, list, chosen, onChoose }) {
  return html`
    <div class="model-family">
      <h3>${name}</h3>
      <ul>${list.map((model) => html`<${Row} key=${model.path_in_folder ?? model.name} model=${model} chosen=${model.name === chosen} onChoose=${onChoose} />`)}</ul>
    </div>
  `;
}

/** In groups by what `keyOf` gives. */
function groups(list, keyOf) {
  const map = new Map();
  for (const each of list) map.set(keyOf(each), [...(map.get(keyOf(each)) ?? []), each]);
  return [...map];
}

export function ModelList({ models, chosen, onChoose }) {
  const { failure } = useStore(server);
  if (!models) return failure ? null : html`<p class="hint">${t("models.reading")}</p>`;
  const rank = ([kind]) => (KINDS.indexOf(kind) + KINDS.length + 1) % (KINDS.length + 1);
  return groups(models, (model) => model.kind ?? "unknown")
    .sort((a, b) => rank(a) - rank(b))
    .map(
      ([kind, list]) => html`<div class="model-kind" key=${kind}>
        <h2>${txOr("kinds", kind, kind)} <span class="number">${list.length}</span></h2>
        ${groups(list, (model) => model.family_label ?? t("models.familyUnknown")).map(
          ([family, members]) => html`<${Family} key=${family} name=${family} list=${members} chosen=${chosen} onChoose=${onChoose} />`,
        )}
      </div>`,
    );
}
