// Requests to the server. Whatever goes wrong becomes an `ApiError` with one line for a person.
import { t } from "./i18n.js";

class ApiError extends Error {
  /** @param {number} status 0 if there was no answer  @param {{code?: string, message?: string, field?: string}} error */
  constructor(status, error, retryAfter = null) {
    super(error.message || t("error.status", { status }));
    this.status = status;
    this.code = error.code || "failed";
    this.field = error.field ? error.field.replaceAll("-", "_") : null;
    this.retryAfter = retryAfter;
  }
}

const unauthorized = new Set();

/** Calls back whenever the server asks for a key. */
export function onUnauthorized(listener) {
  unauthorized.add(listener);
}

/** An address of the server as the page has to write it, which may lie in a subfolder behind a proxy. */
export function address(path) {
  return path.replace(/^\//, "");
}

/** The first requests were sent before the modules came; their answers are used once, if they are of use. */
async function started(url) {
  const boot = window.latentBoot;
  const sent = boot[url];
  delete boot[url];
  const response = await Promise.resolve(sent).catch(() => null);
  return response?.ok ? response : null;
}

/**
 * @param {"GET"|"POST"|"DELETE"} method
 * @param {string} path after `api/v1/`
 * @param {{json?: unknown, bytes?: Blob|ArrayBuffer, signal?: AbortSignal}} [body]
 */
export async function request(method, path, { json, bytes, signal } = {}) {
  const url = `api/v1/${path}`;
  const headers = {};
  if (json !== undefined) headers["Content-Type"] = "application/json";
  if (bytes !== undefined) headers["Content-Type"] = "application/octet-stream";
  let response;
  try {
    response =
      (method === "GET" && (await started(url))) ||
      (await fetch(url, { method, headers, signal, body: json === undefined ? bytes : JSON.stringify(json) }));
  } catch (failure) {
    if (failure.name === "AbortError") throw failure;
    throw new ApiError(0, { code: "unreachable", message: t("error.unreachable") });
  }
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  if (response.status === 401) for (const listener of unauthorized) listener();
  throw new ApiError(response.status, (answer && answer.error) || {}, response.headers.get("Retry-After"));
}

export const get = (path, signal) => request("GET", path, { signal });
export const post = (path, json, signal) => request("POST", path, { json, signal });
export const postBytes = (path, bytes) => request("POST", path, { bytes });
export const remove = (path) => request("DELETE", path);

/** The address of an image of the gallery, and of its parts. */
export const imagePath = (name, part = "") => `images/${encodeURIComponent(name)}${part}`;
