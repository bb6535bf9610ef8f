// The start of the page: waits for the texts, draws the page, and connects it to the server.
import { html, render } from "./lib/html.js";
import { loadTexts } from "./lib/i18n.js";
import { start } from "./state/server.js";
import { App } from "./app/app.js";

start();
await loadTexts();
render(html`<${App} />`, document.getElementById("app"));
