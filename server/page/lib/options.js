// The settings that the page offers, in the order in which it shows them. A setting is what the command line calls a long
// flag, with `_` for `-`. Labels are the texts `option.NAME`, hints `hint.NAME`.

const DRAWS = ["txt2img", "img2img", "inpaint", "outpaint", "edit", "grid"];
const FROM_TEXT = ["txt2img", "grid"];
/** Kinds of model files that steer a model by an image. */
export const CONTROL_KINDS = ["controlnet", "control-lora", "controlnet-lllite", "t2i-adapter"];

/**
 * @typedef {object} Option
 * @property {string} name
 * @property {string} group the fold that it is in; `basic` is always open
 * @property {"integer"|"number"|"switch"|"choice"|"text"|"model"} kind
 * @property {string[]} verbs
 * @property {unknown} [fallback] what counts if neither a person nor the model says otherwise
 * @property {Record<string, unknown>} [fallbacks] the same for single verbs
 * @property {number} [min] @property {number} [max] @property {number} [step]
 * @property {string[]} [choices] names; their texts are `choice.NAME`
 * @property {string} [choicesOf] a list in the server's info
 * @property {string|string[]} [models] the kinds of model files that it names
 * @property {string} [only] the family that it is for
 */

/** @type {(name: string, group: string, kind: string, rest?: object) => Option} */
const option = (name, group, kind, rest = {}) => ({ name, group, kind, verbs: DRAWS, ...rest });

/** @type {Option[]} */
export const OPTIONS = [
  option("steps", "basic", "integer", { min: 1, max: 60, fallback: 20 }),
  option("cfg_scale", "basic", "number", { min: 1, max: 20, step: 0.5, fallback: 7 }),
  option("strength", "basic", "number", { min: 0, max: 1, step: 0.05, fallback: 0.75, fallbacks: { inpaint: 1, outpaint: 1 }, verbs: ["img2img", "inpaint", "outpaint"] }),
  option("img_cfg_scale", "basic", "number", { min: 0, max: 5, step: 0.1, fallback: 1.5, verbs: ["edit"] }),

  option("fill", "mask", "choice", { choicesOf: "fills", fallback: "original", verbs: ["inpaint"] }),
  option("mask_blur", "mask", "integer", { min: 0, max: 64, fallback: 4, verbs: ["inpaint", "outpaint"] }),
  option("only_masked", "mask", "switch", { verbs: ["inpaint"] }),
  option("padding", "mask", "integer", { min: 0, max: 256, fallback: 32, verbs: ["inpaint"] }),
  option("invert", "mask", "switch", { verbs: ["inpaint"] }),

  option("sampler", "sampling", "choice", { choicesOf: "samplers" }),
  option("scheduler", "sampling", "choice", { choicesOf: "schedulers" }),
  option("clip_skip", "sampling", "integer", { min: 1, max: 12, fallback: 1 }),
  option("cfg_end", "sampling", "number", { min: 0, max: 1, step: 0.05, fallback: 1 }),
  option("cfg_rescale", "sampling", "number", { min: 0, max: 1, step: 0.05, fallback: 0 }),
  option("cache", "sampling", "integer", { min: 1, max: 10, fallback: 1 }),
  option("tome", "sampling", "number", { min: 0, max: 0.5, step: 0.05, fallback: 0 }),
  option("eta", "sampling", "number", { min: 0, max: 1, step: 0.05 }),
  option("s_churn", "sampling", "number", { min: 0, max: 100, step: 0.1, fallback: 0 }),
  option("s_noise", "sampling", "number", { min: 0, max: 2, step: 0.01, fallback: 1 }),
  option("rho", "sampling", "number", { min: 0.1, max: 20, step: 0.1 }),
  option("sigmas", "sampling", "text"),
  option("rng", "sampling", "choice", { choicesOf: "rngs", fallback: "cuda" }),
  option("compat", "sampling", "choice", { choices: ["webui", "diffusers"] }),
  option("resize", "sampling", "choice", { choicesOf: "resize_modes", fallback: "crop", verbs: ["img2img", "edit"] }),

  option("hires", "hires", "switch", { verbs: FROM_TEXT }),
  option("hires_scale", "hires", "number", { min: 1, max: 4, step: 0.1, fallback: 2, verbs: FROM_TEXT }),
  option("hires_strength", "hires", "number", { min: 0, max: 1, step: 0.05, fallback: 0.7, verbs: FROM_TEXT }),
  option("hires_steps", "hires", "integer", { min: 1, max: 60, verbs: FROM_TEXT }),
  option("hires_upscaler", "hires", "choice", { choices: ["latent", "latent-nearest", "lanczos", "realesr-animevideov3"], models: "upscaler", fallback: "latent", verbs: FROM_TEXT }),

  option("control_net", "control", "model", { models: CONTROL_KINDS }),
  option("control_strength", "control", "number", { min: 0, max: 2, step: 0.05, fallback: 1 }),
  option("control_start", "control", "number", { min: 0, max: 1, step: 0.05, fallback: 0 }),
  option("control_end", "control", "number", { min: 0, max: 1, step: 0.05, fallback: 1 }),
  option("control_preprocess", "control", "choice", { choices: ["none", "canny"], fallback: "none" }),
  option("canny_low", "control", "integer", { min: 0, max: 1000, fallback: 100 }),
  option("canny_high", "control", "integer", { min: 0, max: 1000, fallback: 200 }),

  option("vae", "parts", "model", { models: "vae" }),
  option("taesd", "parts", "model", { models: "taesd" }),
  option("unet", "parts", "model", { models: "unet" }),
  option("text_encoder", "parts", "model", { models: "text-encoder" }),
  option("parts_from", "parts", "model", { models: "model" }),
  option("prediction", "parts", "choice", { choicesOf: "predictions" }),
  option("zero_snr", "parts", "choice", { choices: ["on", "off"] }),

  option("refiner", "sdxl", "model", { models: "model", only: "sdxl" }),
  option("refiner_start", "sdxl", "number", { min: 0, max: 1, step: 0.05, fallback: 0.8, only: "sdxl" }),
  option("original_size", "sdxl", "text", { only: "sdxl" }),
  option("crop", "sdxl", "text", { only: "sdxl" }),
  option("target_size", "sdxl", "text", { only: "sdxl" }),

  option("batch_size", "run", "integer", { min: 1, max: 16, fallback: 1 }),
  option("vae_tiling", "run", "switch"),
  option("low_memory", "run", "switch"),
];

/** The folds, in order. */
export const GROUPS = ["mask", "sampling", "hires", "control", "parts", "sdxl", "run"];

const BY_NAME = new Map(OPTIONS.map((each) => [each.name, each]));

/** @returns {Option|undefined} */
export const optionNamed = (name) => BY_NAME.get(name);

/** Settings that have fields of their own. */
const OTHERS = ["prompt", "negative_prompt", "model", "width", "height", "seed", "batch_count", "lora", "embedding", "control_image"];
const AMOUNTS = ["left", "right", "top", "bottom", "scale"];
const NUMBERS = new Set(["width", "height", "seed", "batch_count", ...AMOUNTS]);

/** Whether a setting is one of the panel, and not of the prompts, the editors or the bar below. */
export const isInPanel = (name) => BY_NAME.has(name) || ["model", "width", "height", "seed", "lora", "control_image"].includes(name);

/** Whether the page has a field for a setting. */
export const isKnown = (name) => BY_NAME.has(name) || OTHERS.includes(name) || AMOUNTS.includes(name);

/** Whether a setting applies to a verb. The server's own list counts where it has one. */
export function appliesTo(each, verb, serverOptions, family) {
  if (!each.verbs.includes(verb)) return false;
  if (each.only && family && !family.startsWith(each.only)) return false;
  if (!serverOptions || serverOptions.length === 0) return true;
  const known = serverOptions.find((one) => one.name.replaceAll("-", "_") === each.name);
  return Boolean(known) && (!known.verbs || known.verbs.length === 0 || known.verbs.includes(verb === "grid" ? "txt2img" : verb));
}

/** A value as the page keeps it, from what a link or an image's metadata says. */
export function parseValue(name, value) {
  const one = Array.isArray(value) && value.length === 1 && name !== "lora" ? value[0] : value;
  const kind = BY_NAME.get(name)?.kind;
  if (kind === "switch") return one === true || one === "true" || one === "on" || one === "" ? true : undefined;
  if (kind === "integer" || kind === "number" || NUMBERS.has(name)) {
    const number = Number(one);
    return one === "" || one === null || Number.isNaN(number) ? undefined : number;
  }
  if (name === "lora") return parseLoras(value);
  return one === null || one === undefined || one === "" ? undefined : String(one);
}

function parseLoras(value) {
  const list = (Array.isArray(value) ? value : [value]).map((each) => {
    if (each && typeof each === "object") return { name: each.name, weight: Number(each.weight ?? 1) };
    const match = /^(.*?)(?::(-?[\d.]+))?$/.exec(String(each));
    return { name: match[1], weight: match[2] === undefined ? 1 : Number(match[2]) };
  });
  return list.length ? list : undefined;
}
