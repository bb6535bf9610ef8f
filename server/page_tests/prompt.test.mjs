// Emphasis in prompts, LoRA tags, and the values of axes: the parts that need no browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { axisValues, toggleValue } from "../page/lib/axes.js";
import { changeEmphasis, lorasOf, setLoraWeight, toggleLora } from "../page/lib/prompt.js";
import { sizesFor } from "../page/lib/sizes.js";

/** The text and selection after a change; `|` marks the ends of the selection. */
function change(marked, direction) {
  const from = marked.indexOf("|");
  const to = marked.lastIndexOf("|") - (marked.lastIndexOf("|") > from ? 1 : 0);
  const changed = changeEmphasis(marked.replaceAll("|", ""), from, to, direction);
  if (!changed) return null;
  const { text } = changed;
  return `${text.slice(0, changed.from)}|${text.slice(changed.from, changed.to)}|${text.slice(changed.to)}`;
}

test("selected words get a weight", () => assert.equal(change("a |red apple|, x", 1), "a (|red apple|:1.1), x"));
test("spaces around a selection stay outside", () => assert.equal(change("a| red |apple", 1), "a (|red|:1.1) apple"));
test("without a selection the word counts", () => assert.equal(change("a re|d apple", -1), "a (|red|:0.9) apple"));
test("a weight grows", () => assert.equal(change("a (|red|:1.1) apple", 1), "a (|red|:1.2) apple"));
test("the cursor may be anywhere in the emphasis", () => assert.equal(change("a (big r|ed:1.1) apple", 1), "a (|big red|:1.2) apple"));
test("a weight of 1 is none", () => assert.equal(change("a (|red|:1.1) apple", -1), "a |red| apple"));
test("an emphasis elsewhere is left alone", () => assert.equal(change("(a:1.2) |red| (b:1.3)", 1), "(a:1.2) (|red|:1.1) (b:1.3)"));
test("a weight ends at 2 and at 0", () => {
  assert.equal(change("(|a|:2)", 1), null);
  assert.equal(change("(|a|:0)", -1), null);
});
test("nothing to stress", () => assert.equal(change("a | b", 1), null));

test("LoRAs are put in, weighed and taken out", () => {
  const text = toggleLora("a cat", "ink.v2", 0.8);
  assert.equal(text, "a cat <lora:ink.v2:0.8>");
  assert.deepEqual(lorasOf(text), [{ name: "ink.v2", weight: 0.8 }]);
  assert.equal(setLoraWeight(text, "ink.v2", 1.2), "a cat <lora:ink.v2:1.2>");
  assert.equal(toggleLora(text, "ink.v2"), "a cat");
});

test("values of an axis", () => {
  assert.deepEqual(axisValues("5, 10 ,20"), ["5", "10", "20"]);
  assert.deepEqual(axisValues("10-30 (+10), 50"), ["10", "20", "30", "50"]);
  assert.deepEqual(axisValues("0.5-0.7(+0.1)"), ["0.5", "0.6", "0.7"]);
  assert.deepEqual(axisValues('"a, b", c'), ["a, b", "c"]);
  assert.deepEqual(axisValues("1-5 (+0)"), []);
  assert.equal(toggleValue("euler", "heun"), "euler, heun");
  assert.equal(toggleValue("euler, heun", "euler"), "heun");
});

test("sizes have the model's number of pixels and differ from each other", () => {
  for (const side of [64, 256, 512, 768, 1024]) {
    const sizes = sizesFor({ base: "sd1", defaults: { width: side, height: side } });
    assert.deepEqual(sizes[0], { label: "1:1", width: side, height: side });
    assert.equal(new Set(sizes.map(({ width, height }) => `${width} ${height}`)).size, sizes.length);
    for (const { width, height } of sizes) assert.ok(width * height > 0.75 * side ** 2 && width * height <= 1.5 * side ** 2, `${width} ${height}`);
  }
});
