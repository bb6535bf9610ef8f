// The values of an axis of a plot, as a person types them: `10, 20, 30`, or a range, `10-30 (+10)`.

/** Settings that can be an axis; the first ones are those that are used most. */
export const AXES = ["steps", "cfg_scale", "sampler", "scheduler", "seed", "model", "prompt", "clip_skip", "cfg_rescale", "cfg_end", "cache", "tome", "eta", "vae"];

const MAX_VALUES = 64;
const RANGE = /^(-?[\d.]+)\s*(?:-|–|\.\.)\s*(-?[\d.]+)\s*\(\s*\+?\s*([\d.]+)\s*\)$/;

/** @param {string} text @returns {string[]} */
export function axisValues(text) {
  const values = [];
  for (const part of text.match(/"[^"]*"|[^,]+/g) ?? []) {
    const word = part.trim();
    const range = RANGE.exec(word);
    if (range) {
      const [from, to, step] = range.slice(1).map(Number);
      for (let at = from; step > 0 && at <= to + step / 1e6 && values.length < MAX_VALUES; at += step) values.push(String(Number(at.toFixed(6))));
    } else if (word) values.push(word.replace(/^"(.*)"$/, "$1"));
  }
  return values.slice(0, MAX_VALUES);
}

/** A value among the values of an axis, or no more. */
export function toggleValue(text, value) {
  const values = axisValues(text);
  const next = values.includes(value) ? values.filter((each) => each !== value) : [...values, value];
  return next.map((each) => (each.includes(",") ? `"${each}"` : each)).join(", ");
}
