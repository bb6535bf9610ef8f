// The tensors of a file as a tree by the parts of their names. Only what is open is drawn, so that thousands of tensors cost
// nothing. Arrow keys move and open, as in every tree.
import { html, useMemo, useRef, useState } from "../lib/html.js";
import { bytes } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { tensorTree } from "../lib/safetensors.js";
import { Icon } from "../parts/icon.js";

const MAX_ROWS = 400;
const MAX_MATCHES = 200;

/** A chain of nodes with one child each is one row: `model.diffusion_model`. */
function compacted(node) {
  let last = node;
  const names = [node.name];
  while (last.children.size === 1 && !last.tensor) {
    last = [...last.children.values()][0];
    names.push(last.name);
  }
  return { node: last, label: names.join(".") };
}

/** The visible rows, from top to bottom. */
function rowsOf(root, open, limits) {
  const rows = [];
  const visit = (parent, depth) => {
    const children = [...parent.children.values()];
    const limit = limits[parent.path] ?? MAX_ROWS;
    for (const child of children.slice(0, limit)) {
      const { node, label } = compacted(child);
      const isLeaf = node.children.size === 0;
      rows.push({ node, label, depth, isLeaf, isOpen: !isLeaf && open.has(node.path) });
      if (open.has(node.path)) visit(node, depth + 1);
    }
    if (children.length > limit) rows.push({ more: parent.path, left: children.length - limit, depth });
  };
  visit(root, 1);
  return rows;
}

function Tensor({ tensor }) {
  return html`<span class="tensor-shape">${tensor.dtype} [${tensor.shape.join(" × ")}]</span>`;
}

function Row({ row, active, onToggle, onFocus }) {
  const { node, label, depth, isLeaf, isOpen } = row;
  return html`
    <li role="treeitem" class="tree-row" aria-level=${depth} aria-expanded=${isLeaf ? undefined : isOpen} aria-selected=${active} tabindex=${active ? 0 : -1} data-path=${node.path}
      style=${{ "--depth": depth - 1 }} onClick=${() => { onFocus(node.path); if (!isLeaf) onToggle(node.path); }}>
      <span class=${`twisty ${isOpen ? "open" : ""}`}>${!isLeaf && html`<${Icon} name="chevron" size=${14} />`}</span>
      <span class="tree-name">${label}</span>
      ${node.tensor && isLeaf ? html`<${Tensor} tensor=${node.tensor} />` : html`<span class="tensor-shape">${t("inspect.tensors", { n: node.tensors })}</span>`}
      <span class="tree-bytes">${bytes(node.bytes)}</span>
    </li>
  `;
}

function Matches({ tensors, words }) {
  const found = tensors.filter((tensor) => words.every((word) => tensor.name.toLowerCase().includes(word)));
  return html`
    <p class="hint" role="status">${t("inspect.matches", { n: found.length })}</p>
    <ul class="tree" aria-label=${t("inspect.tree")}>
      ${found.slice(0, MAX_MATCHES).map(
        (tensor) => html`<li key=${tensor.name} class="tree-row match"><span class="tree-name">${tensor.name}</span><${Tensor} tensor=${tensor} /><span class="tree-bytes">${bytes(tensor.bytes)}</span></li>`,
      )}
    </ul>
  `;
}

function Tree({ tensors }) {
  const root = useMemo(() => tensorTree(tensors), [tensors]);
  const [open, setOpen] = useState(() => new Set());
  const [limits, setLimits] = useState({});
  const [active, setActive] = useState(null);
  const list = useRef(null);
  const rows = rowsOf(root, open, limits);
  const nodes = rows.filter((row) => row.node);
  const current = nodes.some((row) => row.node.path === active) ? active : nodes[0]?.node.path;

  const toggle = (path) => {
    const next = new Set(open);
    if (!next.delete(path)) next.add(path);
    setOpen(next);
  };
  const focus = (path) => {
    setActive(path);
    requestAnimationFrame(() => list.current?.querySelector(`[data-path="${CSS.escape(path)}"]`)?.focus());
  };
  const onKeyDown = (event) => {
    const at = nodes.findIndex((row) => row.node.path === current);
    const row = nodes[at];
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: nodes.length - 1 }[event.key];
    if (to !== undefined) nodes[to] && focus(nodes[to].node.path);
    else if (event.key === "ArrowRight" && !row.isLeaf) row.isOpen ? focus(nodes[at + 1].node.path) : toggle(current);
    else if (event.key === "ArrowLeft" && row.isOpen) toggle(current);
    else if (event.key === "ArrowLeft") focus((nodes.slice(0, at).findLast((each) => each.depth < row.depth) ?? row).node.path);
    else if ((event.key === "Enter" || event.key === " ") && !row.isLeaf) toggle(current);
    else return;
    event.preventDefault();
  };
  return html`
    <ul class="tree" role="tree" aria-label=${t("inspect.tree")} ref=${list} onKeyDown=${onKeyDown}>
      ${rows.map((row) =>
        row.node
          ? html`<${Row} key=${row.node.path} row=${row} active=${row.node.path === current} onToggle=${toggle} onFocus=${setActive} />`
          : html`<li key=${`more ${row.more}`} role="none"><button type="button" class="button quiet small" role="treeitem" aria-level=${row.depth}
              onClick=${() => setLimits({ ...limits, [row.more]: (limits[row.more] ?? MAX_ROWS) + MAX_ROWS })}>${t("inspect.moreRows", { n: row.left })}</button></li>`,
      )}
    </ul>
  `;
}

/** @param {{tensors: import("../lib/safetensors.js").TensorInfo[]}} props */
export function TensorTree({ tensors }) {
  const [query, setQuery] = useState("");
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  return html`
    <div class="card tensors">
      <div class="card-head">
        <h3>${t("inspect.allTensors", { n: tensors.length })}</h3>
        <input type="search" value=${query} placeholder=${t("inspect.search")} aria-label=${t("inspect.search")} onInput=${(event) => setQuery(event.target.value)} />
      </div>
      ${words.length > 0 ? html`<${Matches} tensors=${tensors} words=${words} />` : html`<${Tree} tensors=${tensors} />`}
    </div>
  `;
}
