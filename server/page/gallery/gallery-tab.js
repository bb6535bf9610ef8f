// The Gallery tab: the images of the output folder, searchable; and the settings of any image that is dropped.
import { html, useEffect, useRef } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { useStore } from "../lib/store.js";
import { record, route } from "../lib/router.js";
import { Button } from "../parts/button.js";
import { DropZone } from "../parts/drop-zone.js";
import { Icon } from "../parts/icon.js";
import { Message } from "../parts/message.js";
import { readMetadata, viewer } from "../state/actions.js";
import { gallery, loadImages } from "../state/gallery.js";
import { thumbnailUrl } from "../state/jobs.js";
import { modelsOfKind, server } from "../state/server.js";

const PAUSE = 200;

function Search({ query }) {
  const models = modelsOfKind(useStore(server, (state) => state.models), "model");
  const timer = useRef(0);
  const set = (name) => (event) => {
    const next = { ...gallery.value.query, [name]: event.target.value };
    gallery.update({ query: next });
    clearTimeout(timer.current);
    timer.current = setTimeout(() => loadImages({ query: next }), PAUSE);
  };
  return html`
    <form class="search" role="search" onSubmit=${(event) => event.preventDefault()}>
      <div class="search-box">
        <${Icon} name="search" size=${16} />
        <input type="search" value=${query.q} placeholder=${t("gallery.search")} aria-label=${t("gallery.search")} onInput=${set("q")} />
      </div>
      <select value=${query.model} aria-label=${t("option.model")} onChange=${set("model")}>
        <option value="">${t("gallery.anyModel")}</option>
        ${models.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}
      </select>
      <input type="text" inputmode="numeric" value=${query.seed} placeholder=${t("option.seed")} aria-label=${t("option.seed")} onInput=${set("seed")} />
    </form>
  `;
}

function Images({ images }) {
  return html`
    <ul class="thumbnails">
      ${images.map(
        (image, index) => html`<li key=${image.name}>
          <button type="button" onClick=${() => viewer.set({ images, index, gallery: true })} aria-label=${image.prompt || image.name}>
            <img src=${thumbnailUrl(image)} alt="" loading="lazy" width=${image.width} height=${image.height} />
            <span class="thumbnail-text" aria-hidden="true">${image.prompt || image.name}</span>
          </button>
        </li>`,
      )}
    </ul>
  `;
}

export function GalleryTab() {
  const { query, images, total, loading, failure } = useStore(gallery);
  const { params } = useStore(route);
  useEffect(() => {
    const wanted = { q: params.get("q") ?? "", model: params.get("model") ?? "", seed: params.get("seed") ?? "" };
    loadImages({ query: String(params) ? wanted : gallery.value.query });
  }, [params]);
  useEffect(() => record("gallery", "", new URLSearchParams(Object.entries(query).filter(([, value]) => value))), [query]);
  const searched = Object.values(query).some(Boolean);
  return html`
    <div class="page">
      <div class="gallery-head">
        <${Search} query=${query} />
        <${DropZone} small icon="image" label=${t("gallery.drop")} accept="image/*" onFile=${readMetadata} />
      </div>
      ${failure && html`<${Message}>${failure.message}<//>`}
      <p class="hint" role="status">${images && t("gallery.total", { n: total })}</p>
      ${images?.length > 0 && html`<${Images} images=${images} />`}
      ${images?.length === 0 && html`<div class="empty"><${Icon} name="gallery" size=${44} /><p>${t(searched ? "gallery.noMatch" : "gallery.empty")}</p></div>`}
      ${images && images.length < total && html`<${Button} class="more" disabled=${loading} onClick=${() => loadImages({ more: true })}>${t("gallery.more")}<//>`}
    </div>
  `;
}
