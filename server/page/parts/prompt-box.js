// A prompt: grows with its text, counts its tokens, and changes the weight of words with Ctrl+Up and Ctrl+Down.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/html.js";
import { t } from "../lib/i18n.js";
import { changeEmphasis } from "../lib/prompt.js";
import { useStore } from "../lib/store.js";
import { countTokens } from "../state/send.js";
import { Field } from "./field.js";

const PAUSE = 250;

/** The number of tokens, a moment after the last key. */
function useTokens(text, model) {
  const [count, setCount] = useState(null);
  useEffect(() => {
    if (!text.trim()) {
      setCount(null);
      return undefined;
    }
    const abort = new AbortController();
    const timer = setTimeout(() => {
      countTokens(text, model, abort.signal).then(setCount, () => {});
    }, PAUSE);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [text, model]);
  return count;
}

/**
 * @param {object} props
 * @param {import("../state/settings.js").Form} props.form
 * @param {"prompt"|"negative_prompt"} props.name
 */
export function PromptBox({ form, name, label, placeholder, rows = 3, autofocus = false }) {
  const text = useStore(form.values, (values) => values[name] ?? "");
  const model = useStore(form.values, (values) => values.model);
  const error = useStore(form.errors, (errors) => errors[name]);
  const tokens = useTokens(text, model);
  const area = useRef(null);
  const selection = useRef(null);

  useLayoutEffect(() => {
    const { current } = area;
    current.style.height = "auto";
    current.style.height = `${current.scrollHeight + 2}px`;
    if (selection.current) current.setSelectionRange(...selection.current);
    selection.current = null;
  }, [text]);
  useEffect(() => {
    if (autofocus && matchMedia("(pointer: fine)").matches) area.current.focus();
  }, []);

  const onKeyDown = (event) => {
    const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!direction || !(event.ctrlKey || event.metaKey) || event.altKey) return;
    event.preventDefault();
    const { selectionStart, selectionEnd, value } = event.target;
    const changed = changeEmphasis(value, selectionStart, selectionEnd, direction);
    if (!changed) return;
    selection.current = [changed.from, changed.to];
    form.set(name, changed.text);
  };
  const size = tokens?.chunk_size ?? 75;
  const aside =
    tokens &&
    html`<span class=${`tokens ${tokens.chunks > 1 ? "many" : ""}`} title=${tokens.chunks > 1 ? t("prompt.chunks", { n: tokens.chunks }) : undefined}>
      ${t("prompt.tokens", { count: tokens.tokens, size: size * Math.max(1, tokens.chunks) })}
    </span>`;
  return html`
    <${Field} label=${label} error=${error} aside=${aside}>
      ${(attributes) => html`
        <textarea ref=${area} class="prompt" rows=${rows} ...${attributes} value=${text} placeholder=${placeholder} spellcheck=${false} autocapitalize="off"
          aria-keyshortcuts="Control+ArrowUp Control+ArrowDown Control+Enter" onKeyDown=${onKeyDown}
          onInput=${(event) => form.set(name, event.target.value || undefined)}></textarea>
      `}
    <//>
  `;
}
