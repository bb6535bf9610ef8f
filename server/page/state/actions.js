// What can be done with an image, wherever it is shown: take its settings, draw variants, send it on, delete it.
import { get, imagePath, post, postBytes, remove } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { fileImage, galleryImage, imageValue } from "../lib/image-source.js";
import { go } from "../lib/router.js";
import { Store } from "../lib/store.js";
import { submit } from "./jobs.js";
import { server } from "./server.js";
import { drawForm, changeForm, fromOptions, toParams } from "./settings.js";
import { toast, toastError } from "./toasts.js";
import { SOURCE, changeView } from "./view.js";

/** The image that the Change tab works on, and how. */
export const change = new Store({ source: null, mode: "img2img" });
/** The image that is shown large over everything: `{images, index}`. */
export const viewer = new Store(null);
/** A file whose metadata is shown: `{source, metadata}`. */
export const dropped = new Store(null);
/** The model file that was dropped or chosen: `{name, file}` or `{name}`. */
export const inspected = new Store(null);

export const metadataOf = (name) => get(imagePath(name, "/metadata"));

/** Other programs write labels, such as `Euler a`, where the server has names. */
function nameIn(list, written) {
  const same = (text) => String(text).toLowerCase() === String(written).toLowerCase();
  return list?.find(({ id, name }) => same(id) || same(name))?.id ?? written;
}

/** The settings of an image, as options. They are those of its job, or what its metadata says. */
function optionsOf(metadata) {
  if (metadata.job) return metadata.job.options;
  const { settings = {} } = metadata;
  const { samplers, schedulers } = server.value.info ?? {};
  return {
    prompt: metadata.prompt,
    negative_prompt: metadata.negative_prompt,
    ...settings,
    sampler: nameIn(samplers, settings.sampler),
    scheduler: nameIn(schedulers, settings.scheduler),
  };
}

export function takeSettings(metadata) {
  const values = fromOptions(optionsOf(metadata));
  drawForm.setAll(values);
  viewer.set(null);
  go("draw", "", toParams(values));
  toast(t("action.settingsUsed"));
}

export async function takeSettingsOf(image) {
  await metadataOf(image.name).then(takeSettings).catch(toastError);
}

/** A link with which anyone who has this server draws the same image. */
export async function copyLink(image) {
  try {
    const values = fromOptions(optionsOf(await metadataOf(image.name)));
    const link = `${location.origin}${location.pathname}#/draw?${toParams({ seed: image.seed, ...values })}`;
    await navigator.clipboard.writeText(link);
    toast(t("action.linkCopied"));
  } catch (failure) {
    toastError(failure);
  }
}

/** Draws an image anew: with another seed, or from its pixels with this strength. */
export async function vary(image, strength = null) {
  try {
    const { seed, batch_count, hires, ...options } = fromOptions(optionsOf(await metadataOf(image.name)));
    const source = galleryImage(image);
    const size = { width: image.width, height: image.height };
    if (strength === null) await submit("txt2img", { ...options, ...(hires ? { hires } : size), seed: -1 });
    else await submit("img2img", { ...options, ...size, seed: -1, strength, image: { image: image.name } }, { before: source });
    viewer.set(null);
  } catch (failure) {
    toastError(failure);
  }
}

/** Makes an image the one to change, and shows it in place of earlier results. */
export function takeSource(source) {
  change.update({ source });
  changeView.set({ id: SOURCE, index: 0 });
}

/** Opens an image in the Change tab. @param {import("../lib/image-source.js").ImageSource} source */
export function sendToChange(source, mode = change.value.mode, prompt = undefined) {
  change.update({ mode });
  takeSource(source);
  if (prompt !== undefined) changeForm.set("prompt", prompt || undefined);
  viewer.set(null);
  dropped.set(null);
  go("change", mode, source.file ? "" : new URLSearchParams({ image: source.name }));
}

export const sendTo = (image, mode) => sendToChange(galleryImage(image), mode, mode === "edit" ? undefined : image.prompt);

/** Draws exactly the same image again. */
export async function replay(source) {
  try {
    await submit("replay", { image: await imageValue(source) }, { before: source });
    viewer.set(null);
    dropped.set(null);
    go("draw");
  } catch (failure) {
    toastError(failure);
  }
}

/** Deletes an image; for a while it can be brought back. */
export async function deleteImage(image) {
  try {
    const { undo } = await remove(imagePath(image.name));
    const run = () => post("images/restore", { undo }).catch(toastError);
    toast(t("action.deleted", { name: image.name }), { action: t("action.undo"), run });
    return true;
  } catch (failure) {
    toastError(failure);
    return false;
  }
}

/** Shows how an image file of any program was made. */
export async function readMetadata(file) {
  try {
    const source = await fileImage(file);
    dropped.set({ source, metadata: await postBytes("metadata", file) });
  } catch (failure) {
    toastError(failure);
  }
}
