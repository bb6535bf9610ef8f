// The texts of the page, one JSON file a language. A text may have forms for numbers: {"one": "...", "other": "..."}.
import { Store } from "./store.js";

export const LANGUAGES = [
  ["en", "English"],
  ["ru", "Русский"],
];

export const language = new Store(document.documentElement.lang || "en");
let texts = {};
let plural = new Intl.PluralRules(language.value);

/** Waits for the texts that `boot.js` asked for. */
export async function loadTexts() {
  const response = await window.latentBoot.texts;
  texts = await response.json();
}

export async function changeLanguage(tag) {
  const response = await fetch(`i18n/${tag}.json`);
  texts = await response.json();
  plural = new Intl.PluralRules(tag);
  document.documentElement.lang = tag;
  try {
    localStorage.setItem("latent-language", tag);
  } catch {
    // Without storage the choice holds until the page is left.
  }
  language.set(tag);
}

/**
 * The text of a key; `{name}` in it is replaced by the value of that name. `n` chooses among forms for numbers.
 * @param {string} key @param {Record<string, string|number>} [values]
 */
export function t(key, values = {}) {
  let text = texts[key];
  if (text === undefined) return key;
  if (typeof text === "object") text = text[plural.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? new Intl.NumberFormat(language.value).format(value) : value;
  });
}

/** The text of a name out of a group, such as the label of an option: `tx("option", "steps")`. */
export const tx = (group, name, values) => t(`${group}.${name}`, values);

/** The same, or another text where the group has none for that name. */
export function txOr(group, name, fallback) {
  return `${group}.${name}` in texts ? tx(group, name) : fallback;
}
