// Reads the page's sources for the tests: its modules, and the keys of texts that they use.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join, relative } from "node:path";

export const PAGE = fileURLToPath(new URL("../page/", import.meta.url));

/** All files of the page, by their path from its folder. */
export function files(folder = PAGE) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? files(path) : [relative(PAGE, path)];
  });
}

export const read = (path) => readFileSync(join(PAGE, path), "utf8");

/** The page's own modules. */
export const modules = () => files().filter((path) => path.endsWith(".js") && !path.startsWith("vendor/"));

/** Keys as the code writes them: whole ones, and groups whose names are computed. */
export function usedKeys() {
  const keys = new Set();
  const groups = new Set();
  for (const path of modules()) {
    const code = read(path);
    for (const [, key] of code.matchAll(/\bt\(\s*"([\w.]+)"/g)) keys.add(key);
    for (const [, one, other] of code.matchAll(/\bt\(\s*[^()`]*?\?\s*"([\w.]+)"\s*:\s*"([\w.]+)"/g)) keys.add(one).add(other);
    for (const [, key] of code.matchAll(/"((?:unit|size|time)\.[\w.]+)"/g)) keys.add(key);
    for (const [, group] of code.matchAll(/\btx(?:Or)?\(\s*"(\w+)"/g)) groups.add(group);
  }
  return { keys, groups };
}
