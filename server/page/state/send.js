// Sends a form to the server, and puts what the server says against it where it belongs.
import { post } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { imageValue } from "../lib/image-source.js";
import { Store } from "../lib/store.js";
import { submit } from "./jobs.js";
import { server } from "./server.js";

/** Milliseconds after which the page certainly shows a change. */
const RENDERED = 80;

/** What went wrong with a form as a whole, by form. */
export const failures = new Store(new Map());

export function setFailure(form, message) {
  const next = new Map(failures.value);
  if (message) next.set(form, message);
  else next.delete(form);
  failures.set(next);
}

/** How a failure reads, with the advice to wait if the queue is full. */
function textOf(failure) {
  if (failure.status === 429 && failure.retryAfter) return `${failure.message} ${t("error.retryAfter", { n: Number(failure.retryAfter), s: Number(failure.retryAfter) })}`;
  return failure.message;
}

/** Tells an error at its field and leads there; if the page does not show that field, it is told at the button. */
function showAtField(form, name, text) {
  form.errors.set({ [name]: text });
  setTimeout(() => {
    const field = document.querySelector('[aria-invalid="true"]');
    if (field) field.focus();
    else if (!document.querySelector(".has-error, .message.error")) setFailure(form, text);
  }, RENDERED);
}

/**
 * @param {import("./settings.js").Form} form @param {string} verb
 * @param {Record<string, unknown>} [extra] options beside those of the form; undefined leaves one out
 * @param {{before?: import("../lib/image-source.js").ImageSource|null}} [rest]
 * @returns {Promise<string|null>} the job, or null if there is none
 */
export async function send(form, verb, extra = {}, { before = null } = {}) {
  form.errors.set({});
  setFailure(form, null);
  try {
    const { control_image: control, ...values } = form.values.value;
    const options = { seed: -1, ...values, ...extra };
    if (control && values.control_net) options.control_image = await imageValue(control);
    for (const [name, value] of Object.entries(options)) if (value === undefined) delete options[name];
    const body = JSON.stringify(options).length;
    const limit = server.value.info?.limits?.max_body_bytes;
    if (limit && body > limit) throw Object.assign(new Error(t("error.tooLarge")), { field: "image" });
    return await submit(verb, options, { before });
  } catch (failure) {
    if (failure.field) showAtField(form, failure.field, textOf(failure));
    else setFailure(form, textOf(failure));
    return null;
  }
}

/** The tokens of a prompt, as the model's text encoder counts them. */
export const countTokens = (prompt, model, signal) => post("tokens", model ? { prompt, model } : { prompt }, signal);
