// What is served: its size, and that nothing in it needs another host or breaks the content security policy.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { PAGE, files, modules, read } from "./source.mjs";
import { expected, reachable } from "./preload.mjs";

const MAX_BYTES = 200_000;
const MAX_LINES = 300;
const served = () => files().filter((path) => !path.endsWith(".md") && !path.includes("LICENSE"));

test("all of the page has at most 200 KB, compressed", () => {
  const bytes = served().reduce((sum, path) => sum + gzipSync(readFileSync(join(PAGE, path))).length, 0);
  assert.ok(bytes <= MAX_BYTES, `${bytes} bytes`);
});

test("index.html lists all modules, so that none waits for another", () => {
  assert.equal(read("index.html"), expected(), "run node preload.mjs");
});

test("every module is used", () => {
  const used = reachable();
  const scripts = files().filter((path) => path.endsWith(".js") && path !== "boot.js");
  assert.deepEqual(scripts.filter((path) => !used.has(path)), []);
});

test("modules are short and begin by saying what they do", () => {
  for (const path of modules()) {
    const text = read(path);
    assert.ok(text.split("\n").length <= MAX_LINES, path);
    assert.match(text, /^\/\/ [A-Z]/, path);
  }
});

test("no address of another host", () => {
  for (const path of served().filter((each) => !each.startsWith("vendor/"))) {
    assert.doesNotMatch(read(path).replaceAll("http://www.w3.org/2000/svg", ""), /https?:\/\//, path);
  }
});

test("nothing inline that the content security policy forbids", () => {
  const html = read("index.html");
  assert.doesNotMatch(html, /\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)/);
  for (const path of modules()) assert.doesNotMatch(read(path), /\beval\(|new Function|innerHTML|\sstyle="/, path);
});

test("no import is left over, and none is missing in its module", () => {
  const problems = [];
  for (const path of modules()) {
    const code = read(path);
    for (const [, names, from] of code.matchAll(/import \{([^}]*)\} from "([^"]+)"/g)) {
      const source = from.startsWith(".") && read(join(path, "..", from));
      for (const name of names.split(",").map((each) => each.trim()).filter(Boolean)) {
        const own = name.split(" as ").at(-1);
        if (code.split(new RegExp(`\\b${own}\\b`)).length < 3) problems.push(`${path} does not use ${own}`);
        const exported = new RegExp(`export [^;]*\\b${name.split(" as ")[0]}\\b`);
        if (source && !from.includes("vendor/") && !exported.test(source)) problems.push(`${from} does not export ${name}`);
      }
    }
  }
  assert.deepEqual(problems, []);
});

test("every export is used", () => {
  const all = modules().map((path) => [path, read(path)]);
  const unused = all.flatMap(([path, code]) =>
    [...code.matchAll(/^export (?:async )?(?:const|function|class) (\w+)/gm)]
      .map((match) => match[1])
      .filter((name) => !all.some(([other, text]) => other !== path && new RegExp(`\\b${name}\\b`).test(text)))
      .map((name) => `${path}: ${name}`),
  );
  assert.deepEqual(unused, []);
});
