"use client";

import { QueryClient, keepPreviousData, queryOptions } from "@tanstack/react-query";

import { ApiError, api, call, callText } from "@/lib/api/client";
import { useAccess } from "@/lib/store";

const retriesMost = 3;

/** What may pass by itself is tried again: no answer, too many requests, a server that is starting or full. */
function mayPass(error: Error): boolean {
  if (!(error instanceof ApiError)) return false;
  if (error.code === "no_store") return false;
  return error.status === 0 || error.status === 429 || error.status === 503;
}

export function retryDelay(attempt: number, error: Error): number {
  if (error instanceof ApiError && error.retryAfter !== null) return error.retryAfter * 1000;
  return Math.min(500 * 2 ** attempt, 8000);
}

/** Told of every failure, wherever it is shown: without a key the sign-in opens. */
function noticeAccess(error: Error): void {
  if (error instanceof ApiError && error.status === 401) useAccess.getState().set({ needed: true, asked: true });
}

export function makeQueryClient(): QueryClient {
  const client = new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 5_000,
        retry: (attempt, error) => attempt < retriesMost && mayPass(error),
        retryDelay,
        refetchOnWindowFocus: true,
      },
      mutations: { retry: false, onError: noticeAccess },
    },
  });
  client.getQueryCache().subscribe((event) => {
    if (event.type === "updated" && event.action.type === "error") noticeAccess(event.action.error as Error);
  });
  return client;
}

export const healthQuery = queryOptions({
  queryKey: ["health"],
  queryFn: ({ signal }) => call(api.GET("/health", { signal })),
  refetchInterval: 5_000,
  retry: false,
});

export const readyQuery = queryOptions({
  queryKey: ["ready"],
  queryFn: ({ signal }) => call(api.GET("/ready", { signal })),
  refetchInterval: 5_000,
  retry: false,
});

export const systemQuery = queryOptions({
  queryKey: ["system"],
  queryFn: ({ signal }) => call(api.GET("/api/v1/system", { signal })),
  refetchInterval: 2_000,
});

export const metricsQuery = queryOptions({
  queryKey: ["metrics"],
  queryFn: () => callText("/metrics"),
  refetchInterval: 5_000,
});

export const keysQuery = queryOptions({
  queryKey: ["keys"],
  queryFn: ({ signal }) => call(api.GET("/api/v1/keys", { signal })),
});

export const modelsQuery = queryOptions({
  queryKey: ["models"],
  queryFn: ({ signal }) => call(api.GET("/api/v1/models", { signal })),
  staleTime: 30_000,
});

export type MarketSpan = { from?: string; to?: string; model?: string; weight?: "none" | "reach"; spam?: boolean; near_duplicates?: boolean };

export const sentimentQuery = (query: MarketSpan & { ticker?: string; bucket?: string }) =>
  queryOptions({
    queryKey: ["sentiment", query],
    queryFn: ({ signal }) => call(api.GET("/api/v1/sentiment", { params: { query }, signal })),
    placeholderData: keepPreviousData,
    staleTime: 15_000,
  });

export const leadersQuery = (query: MarketSpan & { order: "bullish" | "bearish"; least: number; limit: number }) =>
  queryOptions({
    queryKey: ["leaders", query],
    queryFn: ({ signal }) => call(api.GET("/api/v1/sentiment/leaders", { params: { query }, signal })),
    placeholderData: keepPreviousData,
    staleTime: 15_000,
  });

export const tickersQuery = (prefix: string, limit = 12) =>
  queryOptions({
    queryKey: ["tickers", prefix, limit],
    queryFn: ({ signal }) => call(api.GET("/api/v1/tickers", { params: { query: { prefix, limit } }, signal })),
    placeholderData: keepPreviousData,
    staleTime: 60_000,
  });

export const batchesQuery = queryOptions({
  queryKey: ["batches"],
  queryFn: ({ signal }) => call(api.GET("/api/v1/batches", { params: { query: { limit: 50 } }, signal })),
  refetchInterval: (query) =>
    query.state.data?.batches.some((b) => b.state === "queued" || b.state === "running") ? 1_000 : 10_000,
});

export const reviewsQuery = (query: { job?: string; reviewer?: string; order?: "doubt" | "random" | "input"; limit: number }) =>
  queryOptions({
    queryKey: ["reviews", query],
    queryFn: ({ signal }) => call(api.GET("/api/v1/reviews", { params: { query }, signal })),
    staleTime: Infinity, /* a queue that changes under the reviewer's hands would lose the place, and what u takes back */
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });

export const labelJobsQuery = queryOptions({
  queryKey: ["labels"],
  queryFn: ({ signal }) => call(api.GET("/api/v1/labels", { signal })),
  refetchInterval: (query) => (query.state.data?.jobs.some((job) => job.state === "running") ? 2_000 : 15_000),
});

/** Lines of the access log behind the number `after`. */
export const askLog = (after: number, signal: AbortSignal) => call(api.GET("/api/v1/log", { params: { query: { after, limit: 200 } }, signal }));

export const predictionsQuery = (query: MarketSpan & { ticker?: string; limit: number }) =>
  queryOptions({
    queryKey: ["predictions", query],
    queryFn: ({ signal }) => call(api.GET("/api/v1/predictions", { params: { query }, signal })),
  });

export const compareQuery = (ids: string[]) =>
  queryOptions({
    queryKey: ["compare", ids],
    queryFn: ({ signal }) => call(api.GET("/api/v1/models/compare", { params: { query: { ids: ids.join(",") } }, signal })),
    placeholderData: keepPreviousData,
    enabled: ids.length > 0,
  });

export const modelQuery = (id: string) =>
  queryOptions({
    queryKey: ["model", id],
    queryFn: ({ signal }) => call(api.GET("/api/v1/models/{id}", { params: { path: { id } }, signal })),
  });

export const samplesQuery = (id: string) =>
  queryOptions({
    queryKey: ["samples", id],
    queryFn: ({ signal }) => call(api.GET("/api/v1/models/{id}/samples", { params: { path: { id } }, signal })),
  });

export const recordQuery = queryOptions({
  queryKey: ["record"],
  queryFn: ({ signal }) => call(api.GET("/api/v1/models/record", { params: { query: { limit: 50 } }, signal })),
});
