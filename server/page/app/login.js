// The form for the key that a server asks for which others can reach.
import { html, useState } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { Button } from "../parts/button.js";
import { Field } from "../parts/field.js";
import { login } from "../state/server.js";

export function Login() {
  const [key, setKey] = useState("");
  const [error, setError] = useState(null);
  const [busy, setBusy] = useState(false);
  const enter = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    await login(key).catch((failure) => setError(failure.status === 401 ? t("login.wrong") : failure.message));
    setBusy(false);
  };
  return html`
    <main class="login">
      <form class="card" onSubmit=${enter}>
        <img src="favicon.svg" alt="" width="44" height="44" />
        <h1>${t("login.title")}</h1>
        <p class="hint">${t("login.hint")}</p>
        <input type="text" autocomplete="username" value="latent" hidden readonly />
        <${Field} label=${t("login.key")} error=${error}>
          ${(attributes) => html`<input type="password" autocomplete="current-password" required autofocus ...${attributes} value=${key} onInput=${(event) => setKey(event.target.value)} />`}
        <//>
        <${Button} kind="primary" type="submit" disabled=${busy || !key}>${t("login.enter")}<//>
      </form>
    </main>
  `;
}
