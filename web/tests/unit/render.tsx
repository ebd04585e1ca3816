import { QueryClientProvider } from "@tanstack/react-query";
import { render } from "@testing-library/react";
import type { ReactElement } from "react";
import { vi } from "vitest";

import { makeQueryClient } from "@/lib/api/queries";

type Reply = { status?: number; data?: unknown; error?: { code: string; message: string; details?: unknown }; headers?: Record<string, string> };

/** A server of canned answers, by method and path; what is asked is kept. */
export function fakeServer(replies: Record<string, Reply | ((body: unknown) => Reply)>) {
  const asked: { key: string; body: unknown; headers: Headers }[] = [];
  vi.stubGlobal("fetch", async (input: Request | string, init?: RequestInit) => {
    const request = typeof input === "string" ? new Request(new URL(input, window.location.origin), init) : input;
    const key = `${request.method} ${new URL(request.url).pathname}`;
    const content = await request.text();
    const body: unknown = content === "" ? null : JSON.parse(content);
    asked.push({ key, body, headers: request.headers });
    const found = replies[key];
    const reply: Reply = found === undefined ? { status: 404, error: { code: "no_route", message: "no route" } } : typeof found === "function" ? found(body) : found;
    const metadata = { request_id: "r-1", took_ms: 1 };
    const envelope = reply.error
      ? { success: false, data: null, error: { details: null, ...reply.error }, metadata }
      : { success: true, data: reply.data, error: null, metadata };
    return new Response(JSON.stringify(envelope), { status: reply.status ?? 200, headers: { "Content-Type": "application/json", ...reply.headers } });
  });
  return asked;
}

export function show(element: ReactElement) {
  const client = makeQueryClient();
  client.setDefaultOptions({ ...client.getDefaultOptions(), queries: { retry: false } });
  return render(<QueryClientProvider client={client}>{element}</QueryClientProvider>);
}
