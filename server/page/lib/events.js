// Server-sent events. The browser reconnects by itself only while the server answers as it should; a server that restarts
// may answer with an error for a moment, so this reconnects then, too.

const FIRST_WAIT = 500;
const MAX_WAIT = 8000;
const HIDDEN_WAIT = 20_000;

/**
 * @param {string} path after `api/v1/`
 * @param {Record<string, (data: any) => void>} handlers by the events' names
 * @param {{onUp?: (again: boolean) => void, onDown?: () => void}} [state]
 * @returns {() => void} ends it
 */
export function listen(path, handlers, { onUp = () => {}, onDown = () => {} } = {}) {
  let source = null;
  let timer = 0;
  let away = 0;
  let wait = FIRST_WAIT;
  let opened = false;

  const open = () => {
    clearTimeout(timer);
    source = new EventSource(`api/v1/${path}`);
    source.onopen = () => {
      wait = FIRST_WAIT;
      onUp(opened);
      opened = true;
    };
    source.onerror = () => {
      onDown();
      if (source.readyState !== EventSource.CLOSED) return;
      clearTimeout(timer);
      timer = setTimeout(open, wait);
      wait = Math.min(wait * 2, MAX_WAIT);
    };
    for (const [name, handler] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handler(JSON.parse(event.data || "{}")));
    }
  };
  const close = () => {
    clearTimeout(timer);
    source.close();
  };
  // A browser keeps few connections to a server, for all its tabs together: a tab that nobody sees gives its own back.
  const show = () => {
    clearTimeout(away);
    if (document.hidden) away = setTimeout(close, HIDDEN_WAIT);
    else if (source.readyState === EventSource.CLOSED) open();
  };
  open();
  document.addEventListener("visibilitychange", show);
  return () => {
    document.removeEventListener("visibilitychange", show);
    clearTimeout(away);
    close();
  };
}
