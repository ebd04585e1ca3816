"use client";

import { useQuery } from "@tanstack/react-query";

import { Loaded } from "@/components/states";
import { parseMetrics, type Sample } from "@/components/system/prometheus";
import { Card } from "@/components/ui/card";
import { Table } from "@/components/ui/table";
import { metricsQuery } from "@/lib/api/queries";
import { count, fixed } from "@/lib/format";

export type RouteRow = { route: string; requests: number; errors: number; mean: number | null; p99: number | null };

/** The smallest bound that the share of requests stays under. */
function quantile(buckets: Sample[], share: number): number | null {
  const all = buckets.find((b) => b.labels["le"] === "+Inf")?.value ?? 0;
  const found = buckets
    .filter((b) => b.labels["le"] !== "+Inf")
    .sort((a, b) => Number(a.labels["le"]) - Number(b.labels["le"]))
    .find((b) => b.value >= all * share);
  return found === undefined || all === 0 ? null : Number(found.labels["le"]) * 1000;
}

export function routesOf(text: string): RouteRow[] {
  const metrics = parseMetrics(text);
  const requests = metrics.get("finch_http_requests_total") ?? [];
  const of = (name: string, route: string) => (metrics.get(name) ?? []).filter((s) => s.labels["route"] === route);
  return [...new Set(requests.map((s) => s.labels["route"] ?? ""))].map((route) => {
    const mine = requests.filter((s) => s.labels["route"] === route);
    const sum = of("finch_http_request_seconds_sum", route)[0]?.value;
    const n = of("finch_http_request_seconds_count", route)[0]?.value;
    return {
      route,
      requests: mine.reduce((total, s) => total + s.value, 0),
      errors: mine.filter((s) => /^[45]/.test(s.labels["status"] ?? "")).reduce((total, s) => total + s.value, 0),
      mean: sum !== undefined && n ? (sum / n) * 1000 : null,
      p99: quantile(of("finch_http_request_seconds_bucket", route), 0.99),
    };
  });
}

export function Routes() {
  const metrics = useQuery(metricsQuery);
  return (
    <Card title="Requests by route" hint="Since the start; p99 is a bucket's upper bound.">
      <Loaded query={metrics} label="Metrics are being asked for">
        {(text) => (
          <Table
            name="Requests by route"
            rows={routesOf(text).sort((a, b) => b.requests - a.requests)}
            keyOf={(row) => row.route}
            height={300}
            columns={[
              { name: "Route", show: (r) => (r.route === "none" ? "pages, and what is not there" : r.route) },
              { name: "Requests", numeric: true, show: (r) => count(r.requests) },
              { name: "Errors", numeric: true, show: (r) => count(r.errors) },
              { name: "Mean ms", numeric: true, show: (r) => fixed(r.mean) },
              { name: "p99 ms", numeric: true, show: (r) => fixed(r.p99) },
            ]}
          />
        )}
      </Loaded>
    </Card>
  );
}
