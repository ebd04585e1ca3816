"use client";

import { useQuery } from "@tanstack/react-query";

import { PageHead } from "@/components/shell";
import { Loaded } from "@/components/states";
import { EventTail } from "@/components/system/event-tail";
import { Keys } from "@/components/system/keys";
import { LoadCharts } from "@/components/system/load-charts";
import { LogTail } from "@/components/system/log-tail";
import { Routes } from "@/components/system/routes";
import { Time } from "@/components/time";
import { Badge } from "@/components/ui/badge";
import { Card } from "@/components/ui/card";
import { Table } from "@/components/ui/table";
import type { Schemas } from "@/lib/api/client";
import { healthQuery, readyQuery, systemQuery } from "@/lib/api/queries";
import { bytes, count, duration, fixed, percent } from "@/lib/format";
import { at, fields, flag, list, number, text } from "@/lib/read";

type SystemData = Schemas["System"];

function State() {
  const health = useQuery(healthQuery);
  const ready = useQuery({ ...readyQuery, enabled: health.isSuccess });
  if (health.isPending) return <Badge>asking…</Badge>;
  if (health.isError) return <Badge tone="danger">not reachable</Badge>;
  if (ready.isError) return <Badge tone="warn">{ready.error.message}</Badge>;
  return <Badge tone="good">ready</Badge>;
}

function Tile({ name, value, more }: { name: string; value: string; more?: string }) {
  return (
    <div className="rounded-lg border bg-surface p-3 shadow-sm">
      <dt className="text-xs font-medium text-muted">{name}</dt>
      <dd>
        <span className="text-xl font-semibold tabular-nums">{value}</span>
        {more && <span className="block text-xs text-muted">{more}</span>}
      </dd>
    </div>
  );
}

function Tiles({ system }: { system: SystemData }) {
  const hits = number(system.cache, "hits") ?? 0;
  const asked = hits + (number(system.cache, "misses") ?? 0);
  return (
    <dl className="grid grid-cols-2 gap-3 md:grid-cols-4 2xl:grid-cols-8">
      <Tile name="Up for" value={duration(system.uptime_seconds)} />
      <Tile name="Requests" value={count(number(system.requests, "total"))} more={`${count(number(system.requests, "errors"))} with an error`} />
      <Tile name="Latency, median" value={`${fixed(number(system.latency_ms, "p50"))} ms`} more="since the start" />
      <Tile name="Latency, p99" value={`${fixed(number(system.latency_ms, "p99"))} ms`} more={`p95 ${fixed(number(system.latency_ms, "p95"))} ms`} />
      <Tile name="Texts waiting" value={count(number(system.queue, "texts"))} more={`of ${count(number(system.queue, "most"))} at most`} />
      <Tile name="Texts scored" value={count(number(system.queue, "scored"))} more={`${count(number(system.queue, "rejected"))} refused, ${count(number(system.queue, "dropped"))} too late`} />
      <Tile name="Memory" value={bytes(system.memory_bytes)} />
      <Tile name="Cache" value={asked > 0 ? percent(hits / asked, 0) : "–"} more={`${count(number(system.cache, "entries"))} of ${count(number(system.cache, "most"))} entries`} />
    </dl>
  );
}

function Models({ system }: { system: SystemData }) {
  return (
    <Card title="Models" hint="What serves now.">
      <Table
        name="Models that are served"
        rows={list(system.models)}
        keyOf={(model) => text(model, "id") ?? ""}
        columns={[
          {
            name: "Name",
            show: (m) => (
              <>
                <span className="whitespace-nowrap">{text(m, "name") ?? "–"}</span> {flag(m, "default") && <Badge tone="accent">default</Badge>}
              </>
            ),
          },
          { name: "Version", className: "whitespace-nowrap", show: (m) => <code>{text(m, "version") ?? "–"}</code> },
          { name: "Arithmetic", show: (m) => text(m, "compute") ?? "–" },
          { name: "Tokens", numeric: true, show: (m) => count(number(m, "max_tokens")) },
          { name: "Loaded", show: (m) => <Time at={text(m, "loaded")} /> },
        ]}
      />
    </Card>
  );
}

function Store({ system }: { system: SystemData }) {
  const used = flag(system.store, "used");
  const rows: [string, string][] = [
    ["Version", system.version],
    ["Threads", `${count(number(system.threads, "http"))} HTTP, ${count(number(system.threads, "compute"))} compute`],
    ["Connections", count(number(system.requests, "connections"))],
    ["Store", used ? (text(system.store, "place") ?? "–") : "none"],
    ["Predictions kept", `${count(number(system.store, "history_written"))} since the start, ${count(number(system.store, "history_lost"))} lost`],
  ];
  return (
    <Card title="Server" actions={used && !flag(system.store, "reachable") ? <Badge tone="danger">the store is away</Badge> : undefined}>
      <dl className="grid grid-cols-[max-content_1fr] gap-x-6 gap-y-1.5 text-sm">
        {rows.map(([name, value]) => (
          <div key={name} className="contents">
            <dt className="text-muted">{name}</dt>
            <dd className="min-w-0 break-words">{value}</dd>
          </div>
        ))}
      </dl>
    </Card>
  );
}

function Limits({ system }: { system: SystemData }) {
  return (
    <Card title="Limits" hint="Each has a flag of finch serve.">
      <Table
        name="Limits of the server"
        rows={Object.entries(fields(system.limits))}
        keyOf={([name]) => name}
        height={300}
        columns={[
          { name: "Limit", show: ([name]) => name },
          { name: "Value", numeric: true, show: ([, limit]) => count(number(limit, "value")) },
          { name: "Flag", show: ([, limit]) => <code>{String(at(limit, "flag") ?? "–")}</code> },
        ]}
      />
    </Card>
  );
}

export function System() {
  const system = useQuery(systemQuery);
  return (
    <>
      <PageHead title="System" hint="How the server is, and what it does.">
        <State />
      </PageHead>
      <Loaded query={system} label="The server's figures are being asked for" skeleton="h-28">
        {(data) => (
          <>
            <Tiles system={data} />
            <LoadCharts system={data} updatedAt={system.dataUpdatedAt} />
            <div className="grid gap-4 xl:grid-cols-2">
              <Models system={data} />
              <Store system={data} />
              <Routes />
              <Limits system={data} />
            </div>
          </>
        )}
      </Loaded>
      <div className="grid gap-4 xl:grid-cols-2">
        <Keys />
        <EventTail />
      </div>
      <LogTail />
    </>
  );
}
