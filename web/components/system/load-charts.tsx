"use client";

import { useEffect, useState } from "react";

import { tokenColour } from "@/components/charts/colour";
import { ChartFrame } from "@/components/charts/frame";
import { timeAxis } from "@/components/charts/time-axis";
import { Empty } from "@/components/states";
import type { Schemas } from "@/lib/api/client";
import { bytes, fixed, localTime } from "@/lib/format";
import { number } from "@/lib/read";

type Sample = { time: number; total: number; texts: number; waiting: number; memory: number };
const samplesKept = 300;

/** Counters as rates between two samples; a server that began anew in between gives none. */
export function ratesOf(samples: Sample[], key: "total" | "texts"): (number | null)[] {
  return samples.map((s, i) => {
    const before = samples[i - 1];
    if (before === undefined || s.time <= before.time || s[key] < before[key]) return null;
    return ((s[key] - before[key]) * 1000) / (s.time - before.time);
  });
}

function sampleOf(system: Schemas["System"], time: number): Sample {
  return {
    time,
    total: number(system.requests, "total") ?? 0,
    texts: number(system.queue, "scored") ?? 0,
    waiting: number(system.queue, "texts") ?? 0,
    memory: system.memory_bytes ?? 0,
  };
}

export function LoadCharts({ system, updatedAt }: { system: Schemas["System"]; updatedAt: number }) {
  const [samples, setSamples] = useState<Sample[]>([]);
  useEffect(() => {
    setSamples((all) => (all[all.length - 1]?.time === updatedAt ? all : [...all, sampleOf(system, updatedAt)].slice(-samplesKept)));
  }, [system, updatedAt]);
  const requests = ratesOf(samples, "total");
  const texts = ratesOf(samples, "texts");
  const time = { key: "time", name: "Time", show: (v: unknown) => localTime(String(v)) };
  const waits = <Empty title="The first figures come in a moment">The server is asked every two seconds.</Empty>;
  const rows = (samples.length > 2 ? samples : []).map((s, i) => ({
    time: new Date(s.time).toISOString(),
    requests_per_second: requests[i],
    texts_per_second: texts[i],
    memory_bytes: s.memory,
    waiting: s.waiting,
  }));
  const line = (label: string, colour: string, values: (number | null)[]) => ({
    type: "line" as const,
    label,
    data: samples.map((s, i) => ({ x: s.time, y: values[i] ?? null })),
    borderColor: tokenColour(colour),
    backgroundColor: tokenColour(colour),
    pointRadius: 0,
    borderWidth: 2,
  });
  const options = (unit: string, show?: (v: string | number) => string) => () => ({
    animation: false as const,
    interaction: { mode: "index" as const, intersect: false },
    plugins: { tooltip: { callbacks: { title: (items: { parsed: { x: number | null } }[]) => localTime(items[0]?.parsed.x ?? 0) } } },
    scales: { x: timeAxis(), y: { beginAtZero: true, title: { display: true, text: unit }, ticks: show ? { callback: show } : {} } },
  });
  return (
    <div className="grid gap-4 xl:grid-cols-2">
      <ChartFrame
        title="Load"
        hint="Since this page was opened; asked every two seconds."
        kind="line"
        file="finch-load"
        empty={waits}
        height={220}
        rows={rows}
        columns={[time, { key: "requests_per_second", name: "Requests/s", numeric: true, show: (v) => fixed(v as number) }, { key: "texts_per_second", name: "Texts/s", numeric: true, show: (v) => fixed(v as number) }]}
        data={() => ({ datasets: [line("requests/s", "accent", requests), { ...line("texts/s", "class-1", texts), borderDash: [5, 3] }] })}
        options={options("per second")}
      />
      <ChartFrame
        title="Memory"
        hint="Resident memory of the process."
        kind="line"
        file="finch-memory"
        empty={waits}
        height={220}
        rows={rows}
        columns={[time, { key: "memory_bytes", name: "Bytes", numeric: true, show: (v) => bytes(v as number) }, { key: "waiting", name: "Texts waiting", numeric: true }]}
        data={() => ({ datasets: [line("memory", "class-3", samples.map((s) => s.memory))] })}
        options={options("resident", (v) => bytes(Number(v)))}
      />
    </div>
  );
}
