import createClient from "openapi-fetch";

import type { components, paths } from "@/lib/api/schema";

export type Schemas = components["schemas"];
export type Prediction = Schemas["Prediction"];
export type Point = Schemas["Point"];
export type Batch = Schemas["Batch"];
export type HistoryRow = Schemas["HistoryRow"];
export type ReviewItem = Schemas["ReviewItem"];

/** What a request came to when it did not come to data. status 0: no answer at all. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly details: unknown = null,
    readonly retryAfter: number | null = null,
    readonly requestId: string | null = null,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

/** A cookie alone must not be able to change anything from another site's page: this header can't be sent from there. */
export const sessionHeader = { "X-Finch-Session": "1" };

/** Same origin; fetch is looked up for each call, so that tests can put their own in its place. */
export const api = createClient<paths>({
  baseUrl: typeof window === "undefined" ? "http://localhost" : window.location.origin,
  headers: sessionHeader,
  fetch: (request) => fetch(request),
});

type Envelope<T> = { data: T; metadata: Schemas["Metadata"] };
type Answer<T> = { data?: Envelope<T>; error?: unknown; response: Response };

function failure(response: Response, body: unknown): ApiError {
  const envelope = (typeof body === "object" && body !== null ? body : {}) as Partial<Schemas["Error"]>;
  const wait = Number(response.headers.get("Retry-After"));
  const id = (envelope.metadata as { request_id?: unknown } | undefined)?.request_id;
  return new ApiError(
    response.status,
    envelope.error?.code ?? "http_error",
    envelope.error?.message ?? `The server answered ${response.status} ${response.statusText}`.trim(),
    envelope.error?.details ?? null,
    Number.isFinite(wait) && wait > 0 ? wait : null,
    typeof id === "string" ? id : response.headers.get("X-Request-Id"),
  );
}

/** The data of an answer, or an ApiError. */
export async function call<T>(asked: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await asked;
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw new ApiError(0, "unreachable", "The server can't be reached");
  }
  if (answer.data === undefined) throw failure(answer.response, answer.error);
  return answer.data.data;
}

/** What is no JSON: /metrics. */
export async function callText(path: string): Promise<string> {
  const response = await fetch(path, { headers: sessionHeader }).catch(() => null);
  if (response === null) throw new ApiError(0, "unreachable", "The server can't be reached");
  const body = await response.text();
  if (response.ok) return body;
  let parsed: unknown = null;
  try {
    parsed = JSON.parse(body);
  } catch {
    /* the failure is told by its status then */
  }
  throw failure(response, parsed);
}
