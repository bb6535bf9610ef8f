// Runs the program: one command of the page after the other.

import { setCancelled, setFile } from "./host.js";
import init, { ask } from "./latent_web.js";

// Relative to this file.
const program = init({ module_or_path: "latent_web_bg.wasm" }).then((exports) => WebAssembly.promising(exports.run));
let before = Promise.resolve();

async function carryOut({ file, command }) {
  try {
    const run = await program;
    setCancelled(false);
    if (file) setFile(file);
    ask(JSON.stringify(command));
    await run();
  } catch (error) {
    // The program has ended; its memory is not to be trusted.
    postMessage({ kind: "crashed", message: String(error) });
  }
}

onmessage = ({ data }) => {
  if (data.cancel) setCancelled(true);
  else before = before.then(() => carryOut(data));
};
