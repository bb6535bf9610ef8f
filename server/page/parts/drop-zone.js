// A place to drop a file on, which also opens a file chooser.
import { html, useRef, useState } from "../lib/html.js";
import { Icon } from "./icon.js";

/** @param {{label: string, hint?: string, accept: string, icon?: string, onFile: (file: File) => void, small?: boolean}} props */
export function DropZone({ label, hint, accept, icon = "upload", onFile, small = false }) {
  const input = useRef(null);
  const [over, setOver] = useState(false);
  const drop = (event) => {
    event.preventDefault();
    event.stopPropagation();
    setOver(false);
    document.body.classList.remove("dragging");
    const file = event.dataTransfer.files[0];
    if (file) onFile(file);
  };
  const choose = (event) => {
    const file = event.target.files[0];
    event.target.value = "";
    if (file) onFile(file);
  };
  const drag = (event) => {
    event.preventDefault();
    setOver(true);
  };
  return html`
    <div class=${`drop-zone ${small ? "small" : ""} ${over ? "over" : ""}`} onDragOver=${drag} onDragLeave=${() => setOver(false)} onDrop=${drop}>
      <button type="button" onClick=${() => input.current.click()}>
        <${Icon} name=${icon} size=${small ? 18 : 28} />
        <span class="drop-label">${label}</span>
        ${hint && html`<span class="hint">${hint}</span>`}
      </button>
      <input type="file" ref=${input} accept=${accept} aria-label=${label} tabindex="-1" hidden onChange=${choose} />
    </div>
  `;
}
