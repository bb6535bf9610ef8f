// Writes the list of modules into index.html, so that the browser fetches all of them at once. `node preload.mjs`; with
// `--check` it only says whether the list is right.
import { readFileSync, writeFileSync } from "node:fs";
import { join, posix } from "node:path";
import { PAGE, read } from "./source.mjs";

const INDEX = join(PAGE, "index.html");
const LIST = /(<!-- preload: begin [^>]*-->\n)[\s\S]*?( *<!-- preload: end -->)/;

/** Every module that the page needs, in the order in which they are imported. */
export function reachable(start = "main.js", found = new Set()) {
  if (found.has(start)) return found;
  found.add(start);
  for (const [, path] of read(start).matchAll(/(?:from|import)\s*"(\.[^"]+)"/g)) reachable(posix.join(posix.dirname(start), path), found);
  return found;
}

export function expected() {
  const lines = [...reachable()].filter((path) => path !== "main.js").map((path) => `    <link rel="modulepreload" href="${path}" />\n`);
  return readFileSync(INDEX, "utf8").replace(LIST, (_, begin, end) => `${begin}${lines.join("")}${end}`);
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const text = expected();
  if (!process.argv.includes("--check")) writeFileSync(INDEX, text);
  else if (text !== readFileSync(INDEX, "utf8")) {
    console.error("index.html does not list the modules that there are: run node preload.mjs");
    process.exit(1);
  }
}
