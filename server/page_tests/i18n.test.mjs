// Every language has the same texts, the code uses no other, and none is left over.
import assert from "node:assert/strict";
import { test } from "node:test";
import { files, modules, read, usedKeys } from "./source.mjs";

const languages = files()
  .filter((path) => path.startsWith("i18n/"))
  .map((path) => [path.slice(5, -5), JSON.parse(read(path))]);
const [, english] = languages.find(([tag]) => tag === "en");
const { keys, groups } = usedKeys();

const names = (text) => [...new Set([...JSON.stringify(text).matchAll(/\{(\w+)\}/g)].map((match) => match[1]))].sort();

test("all languages have the same keys", () => {
  assert.ok(languages.length >= 2);
  for (const [tag, texts] of languages) assert.deepEqual(Object.keys(texts).sort(), Object.keys(english).sort(), tag);
});

test("texts of one key name the same values", () => {
  for (const [tag, texts] of languages) {
    for (const [key, text] of Object.entries(texts)) assert.deepEqual(names(text), names(english[key]), `${tag}: ${key}`);
  }
});

test("texts with numbers have every form of their language", () => {
  for (const [tag, texts] of languages) {
    const forms = new Intl.PluralRules(tag).resolvedOptions().pluralCategories;
    for (const [key, text] of Object.entries(texts)) {
      if (typeof text === "object") assert.deepEqual(Object.keys(text).sort(), [...forms].sort(), `${tag}: ${key}`);
    }
  }
});

test("every key in the code has a text", () => {
  const missing = [...keys].filter((key) => !(key in english));
  assert.deepEqual(missing, []);
});

test("no text is left over", () => {
  const unused = Object.keys(english).filter((key) => !keys.has(key) && !groups.has(key.split(".")[0]));
  assert.deepEqual(unused, []);
});

test("every computed key has a text", async () => {
  globalThis.document = { documentElement: { lang: "en" } };
  const { OPTIONS, GROUPS } = await import("../page/lib/options.js");
  const { AXES } = await import("../page/lib/axes.js");
  const modes = ["img2img", "inpaint", "outpaint", "edit", "upscale"];
  const wanted = [
    ...OPTIONS.map((option) => `option.${option.name}`),
    ...OPTIONS.flatMap((option) => (option.choices ?? []).map((choice) => `choice.${choice}`)),
    ...AXES.map((name) => `option.${name}`),
    ...["left", "right", "top", "bottom"].map((edge) => `option.${edge}`),
    ...GROUPS.map((group) => `group.${group}`),
    ...["draw", "change", "gallery", "models", "plots"].map((tab) => `tab.${tab}`),
    ...["auto", "light", "dark"].map((theme) => `theme.${theme}`),
    ...modes.flatMap((mode) => [`mode.${mode}`, `modeHint.${mode}`, `doIt.${mode}`]),
    ...modes.filter((mode) => mode !== "upscale").map((mode) => `promptFor.${mode}`),
    ...["queued", "running", "done", "failed", "cancelled"].flatMap((state) => [`state.${state}`, `announce.${state}`]),
    ...["any", "edit"].map((kind) => `modelsNone.${kind}`),
    ...["number", "prompt"].map((kind) => `plotsHint.${kind}`),
    ...["family", "variant", "distilled", "prediction", "layout", "size", "tensors", "memory", "ranks"].map((fact) => `fact.${fact}`),
  ];
  assert.deepEqual(wanted.filter((key) => !(key in english)), []);
});

test("the languages of the menu and of the start are those that there are", () => {
  const menu = [...read("lib/i18n.js").matchAll(/^ {2}\["(\w+)", "/gm)].map((match) => match[1]);
  const start = /data-languages="([^"]*)"/.exec(read("index.html"))[1].split(" ");
  const tags = languages.map(([tag]) => tag).sort();
  assert.deepEqual([...menu].sort(), tags);
  assert.deepEqual([...start].sort(), tags);
});

test("no text for people stands in the code", () => {
  const found = modules().flatMap((path) => [...read(path).matchAll(/>\s*([A-Z][a-z]+ [a-z]+[^<$`{]*)</g)].map((match) => `${path}: ${match[1]}`));
  assert.deepEqual(found, []);
});
