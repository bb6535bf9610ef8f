// All settings of a form: the usual ones open, the others in folds.
import { html, useEffect, useState } from "../lib/html.js";
import { t, tx } from "../lib/i18n.js";
import { GROUPS, OPTIONS, appliesTo, isInPanel } from "../lib/options.js";
import { fitSize } from "../lib/sizes.js";
import { useStore } from "../lib/store.js";
import { modelNamed, server } from "../state/server.js";
import { Button } from "./button.js";
import { Fold } from "./fold.js";
import { ImageField } from "./image-field.js";
import { LoraField } from "./lora-field.js";
import { ModelField } from "./model-field.js";
import { OptionField } from "./option-field.js";
import { SeedField } from "./seed-field.js";
import { SizeField } from "./size-field.js";

function Group({ name, options, form, model, verb }) {
  const values = useStore(form.values);
  const errors = useStore(form.errors);
  const names = options.map((option) => option.name);
  const changed = names.filter((each) => values[each] !== undefined);
  const wrong = names.some((each) => errors[each]);
  const reset = () => changed.forEach((each) => form.set(each, undefined));
  return html`
    <${Fold} title=${tx("group", name)} changed=${changed.length} open=${wrong || name === "mask" || undefined}>
      ${options.map((option) => html`<${OptionField} key=${option.name} option=${option} form=${form} model=${model} verb=${verb} />`)}
      ${name === "control" &&
      values.control_net &&
      html`<${ImageField} label=${t("control.image")} source=${values.control_image} error=${errors.control_image} onChange=${(source) => form.set("control_image", source)} />`}
      ${changed.length > 0 && html`<${Button} small kind="quiet" icon="reset" onClick=${reset}>${t("field.resetAll")}<//>`}
    <//>
  `;
}

const narrow = matchMedia("(max-width: 820px)");

/** On a phone the settings are folded, so that the results follow the prompt. */
export function SettingsPanel(props) {
  const [isNarrow, setNarrow] = useState(narrow.matches);
  const count = useStore(props.form.values, (values) => Object.keys(values).filter(isInPanel).length);
  const wrong = useStore(props.form.errors, (errors) => Object.keys(errors).some(isInPanel));
  useEffect(() => {
    const change = () => setNarrow(narrow.matches);
    narrow.addEventListener("change", change);
    return () => narrow.removeEventListener("change", change);
  }, []);
  if (!isNarrow) return html`<${AllSettings} ...${props} />`;
  return html`<div class="folds"><${Fold} title=${t("draw.settings")} changed=${count} open=${wrong || undefined}><${AllSettings} ...${props} /><//></div>`;
}

/** @param {{form: import("../state/settings.js").Form, verb: string, size?: boolean, source?: {width: number, height: number}|null}} props `source` is the image to be redrawn */
function AllSettings({ form, verb, size = true, source = null }) {
  const state = useStore(server);
  const name = useStore(form.values, (values) => values.model);
  const model = modelNamed(state, name);
  const of = (group) => OPTIONS.filter((option) => option.group === group && appliesTo(option, verb, state.info?.options, model?.base));
  return html`
    <div class="settings">
      <${ModelField} form=${form} verb=${verb} />
      ${size && html`<${SizeField} form=${form} model=${model} own=${source ? fitSize(source, model) : undefined} />`}
      <div class="stack">
        ${of("basic").map((option) => html`<${OptionField} key=${option.name} option=${option} form=${form} model=${model} verb=${verb} />`)}
      </div>
      <${SeedField} form=${form} />
      <${LoraField} form=${form} model=${model} />
      <div class="folds">
        ${GROUPS.map((group) => [group, of(group)])
          .filter(([, options]) => options.length > 0)
          .map(([group, options]) => html`<${Group} key=${group} name=${group} options=${options} form=${form} model=${model} verb=${verb} />`)}
      </div>
    </div>
  `;
}
