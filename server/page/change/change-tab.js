// The Change tab: an image that was dropped, pasted or sent here is redrawn, painted into, grown, edited or enlarged.
import { get } from "../lib/api.js";
import { html, useEffect, useState } from "../lib/html.js";
import { t, tx } from "../lib/i18n.js";
import { base64, fileImage, galleryImage, imageValue, sizeClass } from "../lib/image-source.js";
import { fitSize } from "../lib/sizes.js";
import { record, route } from "../lib/router.js";
import { useStore } from "../lib/store.js";
import { maskFile } from "../lib/strokes.js";
import { onCtrlEnter } from "../lib/keys.js";
import { MODES } from "../lib/modes.js";
import { IconButton } from "../parts/button.js";
import { DrawBar } from "../parts/draw-bar.js";
import { DropZone } from "../parts/drop-zone.js";
import { Icon } from "../parts/icon.js";
import { Message } from "../parts/message.js";
import { PromptBox } from "../parts/prompt-box.js";
import { Segmented } from "../parts/segmented.js";
import { SettingsPanel } from "../parts/settings-panel.js";
import { Results } from "../results/results.js";
import { change, takeSource } from "../state/actions.js";
import { send, setFailure } from "../state/send.js";
import { modelNamed, server } from "../state/server.js";
import { changeForm, fromParams, toParams } from "../state/settings.js";
import { toastError } from "../state/toasts.js";
import { changeView, follow } from "../state/view.js";
import { MaskEditor, emptyMask } from "./mask-editor.js";
import { OutpaintEditor } from "./outpaint-editor.js";
import { UpscalePanel, usualUpscaler } from "./upscale-panel.js";

/** Modes in which the image may become another size. */
const RESIZED = ["img2img", "edit"];
const MODE_NAMES = MODES.map(([name]) => name);
/** Settings that a mode does not have, although the form may have them from another mode. */
const SIZE = { width: undefined, height: undefined };
const EDGES = { left: undefined, right: undefined, top: undefined, bottom: undefined };
const MASKING = { fill: undefined, mask_blur: undefined, only_masked: undefined, padding: undefined, invert: undefined };
const OUTSIDE = {
  img2img: { ...EDGES, ...MASKING, img_cfg_scale: undefined },
  inpaint: { ...EDGES, ...SIZE, img_cfg_scale: undefined, resize: undefined },
  outpaint: { ...MASKING, ...SIZE, mask_blur: null, img_cfg_scale: undefined, resize: undefined },
  edit: { ...EDGES, ...MASKING, strength: undefined },
};

/** Takes mode, image and settings from the address, and writes them there. */
function useAddress() {
  const { part, params } = useStore(route);
  const { source, mode } = useStore(change);
  const values = useStore(changeForm.values);
  useEffect(() => {
    if (MODE_NAMES.includes(part)) change.update({ mode: part });
    const name = params.get("image");
    if (name && name !== change.value.source?.name) {
      get(`images/${encodeURIComponent(name)}/metadata`).then(
        ({ settings }) => takeSource(galleryImage({ name, width: settings.width, height: settings.height })),
        toastError,
      );
    }
    const others = fromParams(params);
    if (Object.keys(others).length > 0) changeForm.setAll({ ...changeForm.values.value, ...others });
  }, [part, params]);
  useEffect(() => {
    const written = toParams(values);
    if (source && !source.file) written.set("image", source.name);
    record("change", mode, written);
  }, [values, source, mode]);
}

/** The options of a request: those of the mode and none of another's. */
async function requestOf(mode, source, mask) {
  const image = await imageValue(source);
  const values = changeForm.values.value;
  if (mode === "upscale") {
    const only = Object.fromEntries(Object.keys(values).map((name) => [name, undefined]));
    return { ...only, seed: undefined, image, model: values.upscale_model ?? usualUpscaler(server.value), scale: values.scale ?? 2 };
  }
  const options = { ...OUTSIDE[mode], scale: undefined, upscale_model: undefined, image };
  if (options.mask_blur === null) options.mask_blur = values.mask_blur;
  if (RESIZED.includes(mode)) Object.assign(options, sizeOf(source, values));
  if (mode === "inpaint" && mask.strokes.length > 0) {
    options.mask = { base64: await base64(await maskFile(mask.strokes, source.width, source.height)), name: "mask.png" };
  }
  return options;
}

function sizeOf(source, values) {
  const model = modelNamed(server.value, values.model);
  // What the built-in model draws is enlarged, unless a size is asked for.
  if (model?.built_in && values.width === undefined && values.height === undefined) return SIZE;
  const own = fitSize(source, model);
  return { width: values.width ?? own.width, height: values.height ?? own.height };
}

/** What is missing before a request makes sense. */
function missing(mode, source, mask, values) {
  if (!source) return t("change.needImage");
  if (mode === "inpaint" && mask.strokes.length === 0 && !/\.(png|webp|gif)$/i.test(source.name)) return t("change.needMask");
  if (mode === "outpaint" && !["left", "right", "top", "bottom"].some((edge) => values[edge])) return t("change.needEdge");
  return null;
}

function Source({ source, onFile, onRemove }) {
  if (!source) return html`<${DropZone} icon="image" label=${t("change.drop")} hint=${t("change.dropHint")} accept="image/*" onFile=${onFile} />`;
  return html`
    <div class="image-field">
      <img src=${source.url} alt="" />
      <span><span class="file-name" title=${source.name}>${source.name}</span><br /><span class="hint">${source.width} × ${source.height}</span></span>
      <${IconButton} icon="close" label=${t("image.remove")} onClick=${onRemove} />
    </div>
  `;
}

/** Before there is a result: the image itself, unless an editor shows it already. */
function Empty({ source, shown }) {
  if (source && shown) return html`<div class="result"><div class="open-image"><img class=${sizeClass(source)} src=${source.url} alt=${source.name} width=${source.width} height=${source.height} /></div></div>`;
  return html`<div class="empty"><${Icon} name="change" size=${44} /><p>${t("change.empty")}</p></div>`;
}

export function ChangeTab() {
  useAddress();
  const { source, mode } = useStore(change);
  const values = useStore(changeForm.values);
  const imageError = useStore(changeForm.errors, (errors) => errors.image ?? errors.mask);
  const [masks, setMasks] = useState({});
  const [busy, setBusy] = useState(false);
  const mask = (source && masks[source.url]) ?? emptyMask();
  const setMode = (next) => {
    change.update({ mode: next });
    setFailure(changeForm, null);
  };
  const open = (file) => fileImage(file).then(takeSource, toastError);

  const run = async () => {
    if (busy) return;
    const lack = missing(mode, source, mask, values);
    if (lack) return void setFailure(changeForm, lack);
    setBusy(true);
    const options = await requestOf(mode, source, mask).catch((failure) => void setFailure(changeForm, failure.message));
    const id = options && (await send(changeForm, mode, options, { before: source }));
    setBusy(false);
    if (id) follow(changeView);
  };
  const draws = mode !== "upscale";
  return html`
    <div class="workbench" onKeyDown=${onCtrlEnter(run)}>
      <section class="side" aria-label=${t("draw.settings")}>
        <div class="side-scroll">
          <${Segmented} label=${t("change.how")} choices=${MODES.map(([value, icon]) => ({ value, icon, label: tx("mode", value) }))} value=${mode} onChange=${setMode} />
          <p class="hint mode-hint">${tx("modeHint", mode)}</p>
          <${Source} source=${source} onFile=${open} onRemove=${() => change.update({ source: null })} />
          ${imageError && html`<${Message}>${imageError}<//>`}
          ${draws && html`<${PromptBox} form=${changeForm} name="prompt" label=${t(mode === "edit" ? "change.instruction" : "option.prompt")} placeholder=${tx("promptFor", mode)} />`}
          ${draws && html`<${PromptBox} form=${changeForm} name="negative_prompt" label=${t("option.negative_prompt")} placeholder=${t("prompt.negativePlaceholder")} rows=${1} />`}
          ${draws && html`<${SettingsPanel} form=${changeForm} verb=${mode} size=${RESIZED.includes(mode)} source=${source} />`}
          ${!draws && html`<${UpscalePanel} form=${changeForm} source=${source} />`}
        </div>
        <${DrawBar} form=${changeForm} label=${tx("doIt", mode)} busy=${busy} count=${draws} onDraw=${run} />
      </section>
      <div class="bench">
        ${source && mode === "inpaint" && html`<${MaskEditor} key=${source.url} source=${source} mask=${mask} onChange=${(next) => setMasks({ ...masks, [source.url]: next })} />`}
        ${source && mode === "outpaint" && html`<${OutpaintEditor} form=${changeForm} source=${source} />`}
        <${Results} verbs=${MODE_NAMES} view=${changeView} empty=${html`<${Empty} source=${source} shown=${mode !== "inpaint" && mode !== "outpaint"} />`} />
      </div>
    </div>
  `;
}
