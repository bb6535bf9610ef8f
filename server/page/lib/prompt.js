// Emphasis in prompts: Ctrl+Up and Ctrl+Down change the weight of the selected words, `(words:1.1)`.

const STEP = 0.1;
const MAX_WEIGHT = 2;
const PUNCTUATION = /[\s,.;:()[\]<>{}|]/;

/** The word around a position, if nothing is selected. */
function wordAt(text, position) {
  let start = position;
  let end = position;
  while (start > 0 && !PUNCTUATION.test(text[start - 1])) start -= 1;
  while (end < text.length && !PUNCTUATION.test(text[end])) end += 1;
  return [start, end];
}

/** The `(words:weight)` that encloses a stretch of text, if one does. */
function emphasisAround(text, start, end) {
  const open = text.lastIndexOf("(", start);
  const close = text.indexOf(")", Math.max(end - 1, open));
  if (open < 0 || close < 0 || close + 1 < end) return null;
  const match = /^\(([^()]*):(-?[\d.]+)\)$/.exec(text.slice(open, close + 1));
  if (!match || Number.isNaN(Number(match[2]))) return null;
  return { open, close: close + 1, words: match[1], weight: Number(match[2]) };
}

/**
 * @param {string} text @param {number} from @param {number} to the selection  @param {1|-1} direction
 * @returns {{text: string, from: number, to: number} | null} null if there is nothing to stress
 */
export function changeEmphasis(text, from, to, direction) {
  let [start, end] = from === to ? wordAt(text, from) : [from, to];
  while (start < end && /\s/.test(text[start])) start += 1;
  while (end > start && /\s/.test(text[end - 1])) end -= 1;
  if (start === end) return null;

  const around = emphasisAround(text, start, end);
  const open = around ? around.open : start;
  const close = around ? around.close : end;
  const words = around ? around.words : text.slice(start, end);
  const weight = Math.round(((around ? around.weight : 1) + direction * STEP) * 100) / 100;
  if (weight < 0 || weight > MAX_WEIGHT) return null;

  const replaced = weight === 1 ? words : `(${words}:${weight})`;
  const first = open + (weight === 1 ? 0 : 1);
  return { text: text.slice(0, open) + replaced + text.slice(close), from: first, to: first + words.length };
}

/** A prompt with the tag of a LoRA, or without it if the prompt names it already. */
export function toggleLora(prompt, name, weight = 1) {
  const tag = new RegExp(`\\s*<lora:${name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(:[^>]*)?>`, "g");
  if (prompt.search(tag) >= 0) return prompt.replace(tag, "").trim();
  return `${prompt.trim()} <lora:${name}:${weight}>`.trim();
}

/** The LoRAs that a prompt names, with their weights. */
export function lorasOf(prompt) {
  return [...prompt.matchAll(/<lora:([^:>]+)(?::([^>]*))?>/g)].map((match) => ({
    name: match[1],
    weight: match[2] === undefined ? 1 : Number(match[2]),
  }));
}

/** A prompt in which a LoRA has another weight. */
export function setLoraWeight(prompt, name, weight) {
  return prompt.replaceAll(/<lora:([^:>]+)(:[^>]*)?>/g, (tag, named) => (named === name ? `<lora:${name}:${weight}>` : tag));
}
