"use client";

import { useState } from "react";

import { tokenColour } from "@/components/charts/colour";
import { ChartFrame } from "@/components/charts/frame";
import { PageHead } from "@/components/shell";
import { Empty } from "@/components/states";
import { Button } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import { Table } from "@/components/ui/table";
import { count, percent } from "@/lib/format";
import { fields, flag, list, number, text } from "@/lib/read";

type Report = { name: string; content: Record<string, unknown> };

/** What finch prepare writes beside its table: P.report.json. */
export function readReport(name: string, content: string): Report {
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch {
    throw new Error(`${name} is no JSON`);
  }
  const found = fields(value);
  if (number(found, "rows") === undefined || list(found["stages"]).length === 0) throw new Error(`${name} is no report of finch prepare: it has no rows and stages`);
  return { name, content: found };
}

function Bars({ title, hint, labels, series, file, stacked = false }: { title: string; hint?: string; labels: string[]; series: { name: string; colour: string; values: (number | undefined)[] }[]; file: string; stacked?: boolean }) {
  return (
    <ChartFrame
      title={title}
      hint={hint}
      kind="bar"
      file={file}
      rows={labels.map((label, i) => ({ label, ...Object.fromEntries(series.map((s) => [s.name, s.values[i]])) }))}
      columns={[{ key: "label", name: title }, ...series.map((s) => ({ key: s.name, name: s.name, numeric: true, show: (v: unknown) => count(v as number) }))]}
      data={() => ({ labels, datasets: series.map((s) => ({ type: "bar" as const, label: s.name, data: s.values.map((v) => v ?? null), backgroundColor: tokenColour(s.colour) })) })}
      options={() => ({ plugins: { legend: { display: series.length > 1 } }, scales: { x: { stacked, grid: { display: false } }, y: { stacked, beginAtZero: true } } })}
    />
  );
}

function Copies({ report, kind, title }: { report: Report; kind: string; title: string }) {
  const rows = list(report.content[kind]);
  if (rows.length === 0) return null;
  return (
    <Card title={title} hint="Examples of the largest groups.">
      <Table
        name={title}
        rows={rows}
        keyOf={(_, index) => index}
        height={300}
        columns={[
          { name: "Row", numeric: true, show: (r) => count(number(r, "row")) },
          { name: "Kept row", numeric: true, show: (r) => count(number(r, "kept_row")) },
          { name: "Dropped", numeric: true, show: (r) => count(number(r, "dropped_rows")) },
          { name: "Author", show: (r) => text(r, "author") ?? "–" },
          { name: "Text", className: "min-w-64", show: (r) => text(r, "text") ?? "–" },
        ]}
      />
    </Card>
  );
}

function View({ report }: { report: Report }) {
  const r = report.content;
  const rows = number(r, "rows") ?? 0;
  const months = list(r["months"]);
  const languages = list(r["languages"]).slice(0, 12);
  const tickers = list(r["tickers"]).slice(0, 25);
  const lengths = list(r["lengths"]);
  const of = (items: unknown[], key: string) => items.map((item) => number(item, key));
  return (
    <>
      <p className="text-sm">
        <span className="font-medium">{report.name}</span>: {count(rows)} rows read, {count(number(r, "kept"))} kept ({percent((number(r, "kept") ?? 0) / rows)}), {count(number(r, "dropped"))} dropped, {count(number(r, "rejected"))} broken.
      </p>
      <div className="grid gap-4 xl:grid-cols-2">
        <Card title="Stages" hint="In their order.">
          <Table
            name="Stages of preparing"
            rows={list(r["stages"])}
            keyOf={(stage) => text(stage, "stage") ?? ""}
            columns={[
              { name: "Stage", show: (s) => `${text(s, "stage")}${flag(s, "on") ? "" : " (off)"}` },
              { name: "Changed", numeric: true, show: (s) => count(number(s, "changed")) },
              { name: "Dropped", numeric: true, show: (s) => count(number(s, "dropped")) },
              { name: "Rows left", numeric: true, show: (s) => count(number(s, "rows_left")) },
            ]}
          />
        </Card>
        <Bars
          title="Why rows were dropped"
          file="finch-dropped"
          labels={Object.keys(fields(r["dropped_for"]))}
          series={[{ name: "rows", colour: "class-1", values: Object.keys(fields(r["dropped_for"])).map((key) => number(r, "dropped_for", key)) }]}
        />
        <Bars
          title="Months"
          file="finch-months"
          labels={months.map((m) => text(m, "month") ?? "?")}
          series={[
            { name: "kept", colour: "class-3", values: of(months, "kept") },
            { name: "dropped", colour: "class-1", values: months.map((m) => (number(m, "rows") ?? 0) - (number(m, "kept") ?? 0)) },
          ]}
          stacked
        />
        <Bars title="Tickers" hint="The 25 with the most rows." file="finch-tickers" labels={tickers.map((t) => text(t, "symbol") ?? "?")} series={[{ name: "rows", colour: "accent", values: of(tickers, "rows") }]} />
        <Bars
          title="Languages"
          hint="und: too short or too mixed to tell."
          file="finch-languages"
          labels={languages.map((l) => text(l, "code") ?? "?")}
          series={[
            { name: "rows", colour: "class-3", values: of(languages, "rows") },
            { name: "dropped", colour: "class-1", values: of(languages, "dropped") },
          ]}
        />
        <Bars title="Lengths" hint="Characters from." file="finch-lengths" labels={lengths.map((l) => String(number(l, "from_characters") ?? "?"))} series={[{ name: "rows", colour: "accent", values: of(lengths, "rows") }]} />
      </div>
      <Copies report={report} kind="duplicates" title="Copies" />
      <Copies report={report} kind="near_duplicates" title="Near-copies" />
      <Copies report={report} kind="floods" title="Floods" />
    </>
  );
}

export function Data() {
  const [report, setReport] = useState<Report | null>(null);
  const [failure, setFailure] = useState("");
  const open = async (file: File | undefined) => {
    if (file === undefined) return;
    try {
      setReport(readReport(file.name, await file.text()));
      setFailure("");
    } catch (error) {
      setFailure(error instanceof Error ? error.message : "The file can't be read");
    }
  };
  return (
    <>
      <PageHead title="Data" hint="What finch prepare did to a table.">
        <Button asChild look="solid">
          <label className="cursor-pointer focus-within:outline focus-within:outline-2 focus-within:outline-offset-2 focus-within:outline-accent">
            Open a report
            <input type="file" accept=".json,application/json" className="sr-only" onChange={(e) => void open(e.target.files?.[0])} />
          </label>
        </Button>
      </PageHead>
      {failure && (
        <p role="alert" className="text-sm text-danger">
          {failure}
        </p>
      )}
      {report === null ? (
        <Card>
          <Empty title="No report is open">
            finch prepare --output P.parquet writes P.report.json beside its table. Open it here; it stays in this browser.
          </Empty>
        </Card>
      ) : (
        <View report={report} />
      )}
    </>
  );
}
