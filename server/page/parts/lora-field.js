// LoRAs: chosen from those in the folders, which puts their tag into the prompt; each with its weight.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { lorasOf, setLoraWeight, toggleLora } from "../lib/prompt.js";
import { useStore } from "../lib/store.js";
import { modelsOfKind, server } from "../state/server.js";
import { IconButton } from "./button.js";
import { ChoiceField } from "./choice-field.js";

function Weight({ name, weight, onWeight, onRemove }) {
  return html`
    <div class="lora">
      <span class="lora-name" title=${name}>${name}</span>
      <input type="range" min="-1" max="2" step="0.05" value=${weight} aria-label=${t("lora.weightOf", { name })} onInput=${(event) => onWeight(Number(event.target.value))} />
      <output>${weight.toFixed(2)}</output>
      <${IconButton} icon="close" size=${16} label=${t("lora.remove", { name })} onClick=${onRemove} />
    </div>
  `;
}

/** Those of the model's family come first; the others do not fit it. */
function choicesFor(models, kind, base) {
  const fits = (each) => !each.base || !base || each.base === base;
  return modelsOfKind(models, kind)
    .sort((a, b) => Number(fits(b)) - Number(fits(a)) || a.name.localeCompare(b.name))
    .map((each) => ({ value: each.name, label: fits(each) ? each.name : t("lora.otherFamily", { name: each.name, family: each.family_label ?? each.base }) }));
}

export function LoraField({ form, model }) {
  const models = useStore(server, (state) => state.models);
  const prompt = useStore(form.values, (values) => values.prompt ?? "");
  const listed = useStore(form.values, (values) => values.lora) ?? [];
  const error = useStore(form.errors, (errors) => errors.lora);
  const loras = choicesFor(models, "lora", model?.base);
  const words = choicesFor(models, "embedding", model?.base);
  const named = lorasOf(prompt);
  const setPrompt = (text) => form.set("prompt", text || undefined);
  const setListed = (list) => form.set("lora", list.length ? list : undefined);
  const insert = (name) => name && !named.some((each) => each.name === name) && setPrompt(toggleLora(prompt, name));
  if (loras.length + words.length + named.length + listed.length === 0) return null;
  return html`
    <div class="loras">
      <div class="two even">
        ${loras.length > 0 &&
        html`<${ChoiceField} label=${t("lora.title")} error=${error} choices=${[{ value: "", label: t("lora.add") }, ...loras]} value="" required onChange=${insert} />`}
        ${words.length > 0 &&
        html`<${ChoiceField} label=${t("lora.words")} choices=${[{ value: "", label: t("lora.addWord") }, ...words]} value="" required
          onChange=${(name) => name && setPrompt(`${prompt.trim()} ${name}`.trim())} />`}
      </div>
      ${named.map(
        ({ name, weight }) => html`<${Weight} key=${name} name=${name} weight=${weight} onWeight=${(value) => setPrompt(setLoraWeight(prompt, name, value))}
          onRemove=${() => setPrompt(toggleLora(prompt, name))} />`,
      )}
      ${listed.map(
        ({ name, weight }, index) => html`<${Weight} key=${`listed ${name}`} name=${name} weight=${weight}
          onWeight=${(value) => setListed(listed.map((each, at) => (at === index ? { name, weight: value } : each)))}
          onRemove=${() => setListed(listed.filter((_, at) => at !== index))} />`,
      )}
    </div>
  `;
}
