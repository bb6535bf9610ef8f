// The settings of a form. What is not set comes from the model or the server; only what a person has set is stored, sent and
// written into links.
import { Store } from "../lib/store.js";
import { isKnown, optionNamed, parseValue } from "../lib/options.js";

/** A form: its settings, and the errors that belong to its fields. */
export class Form {
  constructor() {
    /** @type {Store<Record<string, any>>} */
    this.values = new Store({});
    /** @type {Store<Record<string, string>>} */
    this.errors = new Store({});
  }

  /** Sets one; undefined goes back to the default. */
  set(name, value) {
    const { [name]: _, ...others } = this.values.value;
    this.values.set(value === undefined ? others : { ...others, [name]: value });
    this.clearError(name);
  }

  setAll(values) {
    this.values.set(values);
    this.errors.set({});
  }

  clearError(name) {
    if (!(name in this.errors.value)) return;
    const { [name]: _, ...others } = this.errors.value;
    this.errors.set(others);
  }
}

export const drawForm = new Form();
export const changeForm = new Form();

/** The value that counts if a person sets none. */
export function defaultOf(name, model, verb) {
  const own = model?.defaults?.[name];
  if (own !== undefined && own !== null) return own;
  if (name === "width" || name === "height") return 512;
  const option = optionNamed(name);
  return option?.fallbacks?.[verb] ?? option?.fallback;
}

/** Settings as the parameters of a link. */
export function toParams(values) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (name === "lora") value.forEach((lora) => params.append("lora", `${lora.name}:${lora.weight}`));
    else if (isKnown(name) && typeof value !== "object") params.set(name, String(value));
  }
  return params;
}

/** Settings from the parameters of a link. */
export function fromParams(params) {
  return fromOptions(Object.fromEntries([...new Set(params.keys())].map((name) => [name, params.getAll(name)])));
}

/** Settings from the options of a job, as the metadata of an image name them. Unknown ones are left out. */
export function fromOptions(options) {
  const values = {};
  for (const [written, value] of Object.entries(options ?? {})) {
    const name = written.replaceAll("-", "_");
    const parsed = isKnown(name) ? parseValue(name, value) : undefined;
    if (parsed !== undefined) values[name] = parsed;
  }
  return values;
}
