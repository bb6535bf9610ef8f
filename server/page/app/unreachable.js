// Says when the server cannot be reached; the page goes on trying, and reads everything again when it is back.
import { html } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { useStore } from "../lib/store.js";
import { server } from "../state/server.js";

export function Unreachable() {
  const { online, failure } = useStore(server);
  if (online && !failure) return null;
  return html`<div class="unreachable" role="status"><span class="spinner" aria-hidden="true"></span>${failure && failure.status !== 0 ? failure.message : t("error.reconnecting")}</div>`;
}
