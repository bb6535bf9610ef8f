// A window over the page. The browser keeps the focus inside and closes it on Escape.
import { html, useEffect, useId, useRef } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { IconButton } from "./button.js";

/** @param {{title: string, onClose: () => void, wide?: boolean, onKeyDown?: (event: KeyboardEvent) => void}} props */
export function Dialog({ title, onClose, wide = false, onKeyDown, children }) {
  const dialog = useRef(null);
  const id = useId();
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  const outside = (event) => event.target === dialog.current && onClose();
  return html`
    <dialog ref=${dialog} class=${wide ? "wide" : ""} aria-labelledby=${id} onClose=${onClose} onClick=${outside} onKeyDown=${onKeyDown}>
      <div class="dialog-frame">
        <header class="dialog-head">
          <h2 id=${id}>${title}</h2>
          <${IconButton} icon="close" label=${t("dialog.close")} onClick=${onClose} />
        </header>
        <div class="dialog-body">${children}</div>
      </div>
    </dialog>
  `;
}
