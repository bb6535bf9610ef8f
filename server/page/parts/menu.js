// A button that opens a short list of actions. Arrow keys move in it, Escape closes it.
import { html, useEffect, useId, useRef, useState } from "../lib/html.js";
import { Icon } from "./icon.js";

/** @param {{icon: string, label: string, items: {label: string, icon?: string, run: () => void}[]}} props */
export function Menu({ icon, label, items, small = false }) {
  const [open, setOpen] = useState(false);
  const [above, setAbove] = useState(false);
  const root = useRef(null);
  const id = useId();

  const show = () => {
    const { bottom } = root.current.getBoundingClientRect();
    setAbove(bottom + items.length * 40 + 80 > innerHeight);
    setOpen(!open);
  };
  useEffect(() => {
    if (!open) return undefined;
    root.current.querySelector("[role=menuitem]")?.focus();
    const outside = (event) => !root.current.contains(event.target) && setOpen(false);
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);

  const close = () => {
    setOpen(false);
    root.current.querySelector("button").focus();
  };
  const onKeyDown = (event) => {
    if (!open) return;
    const all = [...root.current.querySelectorAll("[role=menuitem]")];
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) all[(all.indexOf(document.activeElement) + move + all.length) % all.length]?.focus();
    else if (event.key === "Escape") close();
    else if (event.key === "Tab") setOpen(false);
    else return;
    if (event.key !== "Tab") event.preventDefault();
    event.stopPropagation();
  };
  const choose = (item) => () => {
    close();
    item.run();
  };
  return html`
    <div class="menu" ref=${root} onKeyDown=${onKeyDown}>
      <button type="button" class=${`button plain ${small ? "small" : ""}`} aria-haspopup="menu" aria-expanded=${open} aria-controls=${open ? id : undefined} onClick=${show}>
        <${Icon} name=${icon} size=${16} /><span>${label}</span><${Icon} name="down" size=${14} />
      </button>
      ${open &&
      html`<ul class=${`menu-list ${above ? "above" : ""}`} role="menu" id=${id} aria-label=${label}>
        ${items.map(
          (item) => html`<li role="none" key=${item.label}>
            <button type="button" role="menuitem" tabindex="-1" onClick=${choose(item)}>${item.icon && html`<${Icon} name=${item.icon} size=${16} />`}<span>${item.label}</span></button>
          </li>`,
        )}
      </ul>`}
    </div>
  `;
}
