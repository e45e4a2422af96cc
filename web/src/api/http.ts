/** Requests to the server of this page. Every failure is an ApiError with words that a person can read. */

import { createSignal } from "solid-js";
import { t } from "../i18n";
import { takeEarly } from "./early";
import { type Query, url } from "./paths";

export class ApiError extends Error {
  constructor(
    message: string,
    /** The HTTP status; 0: the server was not reached. */
    readonly status: number,
    /** The server's stable code, see docs/errors.md; "network" and "aborted" are the page's own. */
    readonly code: string,
    readonly param: string | null = null,
    /** Seconds after which a retry can help. */
    readonly retryAfter: number | null = null,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

const [signedOut, setSignedOut] = createSignal(false);

/** True once the server has said 401: the shell then shows the sign-in screen. */
export { setSignedOut, signedOut };

export interface Options {
  body?: unknown;
  query?: Query;
  signal?: AbortSignal;
  /** Sent though the page is being closed. */
  keepalive?: boolean;
}

/** The answer's JSON. Throws ApiError. */
export async function request<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const response = await send(method, path, options);
  return (response.status === 204 ? undefined : await response.json()) as T;
}

/** The answer, whatever it holds: a stream, a file. Throws ApiError. */
export async function send(method: string, path: string, options: Options = {}): Promise<Response> {
  const headers: Record<string, string> = {};
  const raw = options.body instanceof Blob || options.body instanceof FormData;
  if (options.body !== undefined && !raw) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    const address = url(path, options.query);
    response = await ((method === "GET" && takeEarly(address)) || fetch(address, {
      method,
      headers,
      body: options.body === undefined ? null : raw ? (options.body as Blob | FormData) : JSON.stringify(options.body),
      signal: options.signal ?? null,
      keepalive: options.keepalive ?? false,
      credentials: "same-origin",
      cache: "no-store",
    }));
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw new ApiError("", 0, "aborted");
    throw new ApiError(t("error.network"), 0, "network");
  }
  if (!response.ok) {
    if (response.status === 401 && !path.startsWith("/v1/session")) setSignedOut(true);
    throw await refused(response);
  }
  return response;
}

export const get = <T>(path: string, query?: Query, signal?: AbortSignal): Promise<T> =>
  request<T>("GET", path, { ...(query ? { query } : {}), ...(signal ? { signal } : {}) });
export const post = <T>(path: string, body: unknown = {}): Promise<T> => request<T>("POST", path, { body });
export const patch = <T>(path: string, body: unknown): Promise<T> => request<T>("PATCH", path, { body });
export const put = <T>(path: string, body: unknown): Promise<T> => request<T>("PUT", path, { body });
export const del = <T>(path: string): Promise<T> => request<T>("DELETE", path);

async function refused(response: Response): Promise<ApiError> {
  const after = Number(response.headers.get("Retry-After"));
  const retry = Number.isFinite(after) && after > 0 ? after : null;
  let detail: { message?: string; code?: string; param?: string | null } = {};
  try {
    detail = ((await response.json()) as { error?: typeof detail }).error ?? {};
  } catch {
    // Not ours: a proxy's page, or nothing at all.
  }
  const code = detail.code ?? `http_${response.status}`;
  return new ApiError(plain(code, response.status, detail.message, retry), response.status, code, detail.param ?? null, retry);
}

/** What a person reads for a code of the server. The server's own words stand where there is nothing plainer. */
export function plain(code: string, status: number, message: string | undefined, retry: number | null): string {
  switch (code) {
    case "queue_full":
    case "rate_limit_exceeded":
      return retry === null ? t("error.busy") : t("error.busyFor", { seconds: Math.ceil(retry) });
    case "context_length_exceeded":
      return t("error.context");
    case "engine_unavailable":
    case "engine_lost":
      return t("error.engine");
    case "server_restarted":
      return t("error.restarted");
    case "storage_full":
      return t("error.diskFull");
    case "insufficient_permissions":
      return t("error.forbidden");
    case "invalid_api_key":
      return t("error.signIn");
    case "conversation_locked":
      return t("error.chatBusy");
  }
  if (message) return message;
  return status >= 500 ? t("error.server") : t("error.request", { status });
}

/** Anything thrown, as words. */
export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
