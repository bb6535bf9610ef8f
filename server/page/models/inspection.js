// What a model file is, what it can be used for, and what is in it. Of a file that was dropped, the header alone is read.
import { get, postBytes } from "../lib/api.js";
import { html, useEffect, useRef, useState } from "../lib/html.js";
import { bytes, compact, count } from "../lib/format.js";
import { t, tx, txOr } from "../lib/i18n.js";
import { go } from "../lib/router.js";
import { readHeader, tensorBytes } from "../lib/safetensors.js";
import { Button } from "../parts/button.js";
import { Fold } from "../parts/fold.js";
import { Message } from "../parts/message.js";
import { change } from "../state/actions.js";
import { changeForm, drawForm } from "../state/settings.js";
import { MetadataList } from "./metadata-list.js";
import { TensorTree } from "./tensor-tree.js";

/** What the page can do with a model. */
const VERBS = ["txt2img", "img2img", "inpaint", "outpaint", "edit"];

/** Of a file on this computer: its tensors from here, what they mean from the server. */
async function inspectFile(file, show) {
  const { header, tensors, metadata } = await readHeader(file);
  show({ tensors, metadata, bytes: file.size, report: null });
  const params = new URLSearchParams({ name: file.name, bytes: String(file.size) });
  const report = await postBytes(`inspect?${params}`, header);
  show({ tensors, metadata, bytes: file.size, report });
}

async function inspectModel(name, show) {
  const report = await get(`models/${encodeURIComponent(name)}/inspect`);
  const tensors = (report.tensor_list ?? []).map((tensor) => ({ ...tensor, bytes: tensor.bytes ?? tensorBytes(tensor.dtype, tensor.shape) }));
  show({ tensors, metadata: report.metadata ?? {}, bytes: report.bytes, report });
}

function useInspection(chosen) {
  const [state, setState] = useState({ loading: true });
  useEffect(() => {
    let current = true;
    const show = (found) => current && setState(found);
    const fail = (failure) => current && setState((old) => ({ ...old, loading: false, failure: failure.message }));
    (chosen.file ? inspectFile(chosen.file, show) : inspectModel(chosen.name, show)).catch(fail);
    return () => {
      current = false;
    };
  }, [chosen]);
  return state;
}

function Uses({ report, name, here }) {
  const use = (verb) => {
    const model = name.replace(/\.safetensors$/i, "");
    if (verb === "txt2img") {
      drawForm.set("model", model);
      go("draw");
    } else {
      changeForm.set("model", model);
      change.update({ mode: verb });
      go("change", verb);
    }
  };
  return html`
    <div class="uses">
      ${report.verbs.filter((verb) => VERBS.includes(verb)).map((verb) =>
        here
          ? html`<${Button} small key=${verb} icon="spark" onClick=${() => use(verb)}>${txOr("mode", verb, verb)}<//>`
          : html`<span class="badge" key=${verb}>${txOr("mode", verb, verb)}</span>`,
      )}
    </div>
  `;
}

function Facts({ found }) {
  const { report } = found;
  const facts = [
    ["family", report.family_name],
    ["variant", txOr("variant", report.variant, null)],
    ["distilled", report.distilled?.name],
    ["prediction", report.prediction],
    ["layout", report.layout],
    ["size", bytes(found.bytes)],
    ["tensors", count(report.tensors ?? found.tensors.length)],
    ["memory", (report.memory_estimate ?? []).map(({ side, bytes: needed }) => `${side}²: ${bytes(needed)}`).join(", ")],
    ["ranks", report.lora && Object.keys(report.lora.ranks).join(", ")],
  ];
  return html`
    <dl class="facts">
      ${facts.filter(([, value]) => value).map(([name, value]) => html`<div key=${name}><dt>${tx("fact", name)}</dt><dd>${value}</dd></div>`)}
    </dl>
  `;
}

function Components({ list }) {
  return html`
    <table class="components">
      <caption class="unseen">${t("inspect.components")}</caption>
      <thead><tr><th scope="col">${t("inspect.component")}</th><th scope="col">${t("inspect.parameters")}</th><th scope="col">${t("inspect.dtypes")}</th><th scope="col">${t("fact.size")}</th></tr></thead>
      <tbody>
        ${list.map(
          (part) => html`<tr key=${part.name}><th scope="row">${part.name}</th><td>${compact(part.parameters)}</td><td>${Object.keys(part.dtypes).join(", ")}</td><td>${bytes(part.bytes)}</td></tr>`,
        )}
      </tbody>
    </table>
  `;
}

function Report({ found, chosen }) {
  const { report } = found;
  // Where to put a file is of use only for one that is not there yet.
  const advice = chosen.file ? (report.advice ?? []) : [report.kind === "model" && report.problem].filter(Boolean);
  const lacks = report.lacks ?? [];
  return html`
    <div class="card">
      <p class="what"><strong>${txOr("kind", report.kind, report.kind)}</strong></p>
      ${report.verbs?.length > 0 && html`<${Uses} report=${report} name=${chosen.name} here=${!chosen.file} />`}
      ${lacks.length > 0 && html`<${Message} kind="warning">${t("inspect.lacks", { parts: lacks.map((part) => part.name ?? part).join(", ") })}<//>`}
      ${advice.length > 0 && html`<${Message} kind="info">${advice.map((line) => html`<p key=${line}>${line}</p>`)}<//>`}
      <${Facts} found=${found} />
      ${report.components?.length > 0 && html`<${Components} list=${report.components} />`}
    </div>
  `;
}

export function Inspection({ chosen }) {
  const found = useInspection(chosen);
  const top = useRef(null);
  useEffect(() => {
    if (matchMedia("(max-width: 1000px)").matches) top.current.scrollIntoView({ block: "start" });
  }, []);
  const entries = Object.entries(found.metadata ?? {});
  return html`
    <div class="inspection" ref=${top}>
      <h2 class="file-title">${chosen.name}</h2>
      ${found.failure && html`<${Message}>${found.failure}<//>`}
      ${found.loading && html`<p class="hint" role="status">${t("inspect.reading")}</p>`}
      ${found.report && html`<${Report} found=${found} chosen=${chosen} />`}
      ${found.tensors?.length > 0 && html`<${TensorTree} tensors=${found.tensors} />`}
      ${entries.length > 0 && html`<${Fold} title=${t("inspect.metadata", { n: entries.length })} open=${entries.length < 30}><${MetadataList} entries=${entries} /><//>`}
    </div>
  `;
}
