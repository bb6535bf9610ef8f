// Keys that several tabs share.

/** A listener that acts on Ctrl+Enter, on Command+Enter too. */
export const onCtrlEnter = (act) => (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  act();
};
