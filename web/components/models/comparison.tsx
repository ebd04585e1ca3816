"use client";

import { useQuery } from "@tanstack/react-query";

import { tokenColour } from "@/components/charts/colour";
import { ChartFrame } from "@/components/charts/frame";
import { intervalOf, metricRows, verdictOf, type Verdict } from "@/components/models/compare";
import { Empty, Loaded } from "@/components/states";
import { Badge } from "@/components/ui/badge";
import { Card } from "@/components/ui/card";
import { Table } from "@/components/ui/table";
import type { Schemas } from "@/lib/api/client";
import { compareQuery } from "@/lib/api/queries";
import { classes, classTitle } from "@/lib/classes";
import { count, fixed } from "@/lib/format";
import { number } from "@/lib/read";

type Compared = Schemas["ModelComparison"]["models"][number];

const marks: Record<Verdict, { tone: "good" | "danger" | "plain"; text: string } | null> = {
  first: null,
  better: { tone: "good", text: "▲ better" },
  worse: { tone: "danger", text: "▼ worse" },
  alike: { tone: "plain", text: "≈ alike" },
  unknown: null,
};

function Metrics({ models }: { models: Compared[] }) {
  const first = models[0]?.metrics;
  return (
    <Card title="Metrics" hint="With 95 % intervals where an evaluation is attached. Better and worse, against the first, only where intervals do not overlap.">
      <Table
        name="Metrics of the chosen models"
        rows={[...metricRows]}
        keyOf={(row) => row.key}
        columns={[
          { name: "Metric", show: (row) => row.title },
          ...models.map((model) => ({
            name: model.id,
            numeric: true,
            show: (row: (typeof metricRows)[number]) => {
              const interval = intervalOf(model.metrics, row.key);
              const mark = marks[verdictOf(model.metrics, first, row)];
              return (
                <>
                  {fixed(number(model.metrics, row.key), 3)}
                  {interval && <span className="block text-xs text-muted">{`${fixed(interval.low, 3)} to ${fixed(interval.high, 3)}`}</span>}
                  {mark && <Badge tone={mark.tone}>{mark.text}</Badge>}
                </>
              );
            },
          })),
        ]}
      />
      <p className="mt-2 text-sm text-muted">{models.map((m) => `${m.id}: ${count(number(m.metrics, "n"))} texts`).join("; ")}. Compare only what was measured on the same texts.</p>
    </Card>
  );
}

function Matrix({ model }: { model: Compared }) {
  const confusion = model.confusion_matrix;
  if (!confusion) return null;
  const totals = confusion.matrix.map((row) => row.reduce((a, b) => a + b, 0));
  return (
    <Card title={<>Confusion of {model.id}</>} hint="A row is the true class, a column what the model said; shades are shares of the row.">
      <div className="overflow-x-auto" tabIndex={0} role="region" aria-label={`Confusion matrix of ${model.id}`}>
        <table className="w-full border-separate border-spacing-0.5 text-sm">
          <caption className="sr-only">Confusion matrix of {model.id}</caption>
          <thead>
            <tr>
              <th scope="col" className="text-left text-xs font-medium text-muted">
                true ↓ said →
              </th>
              {confusion.labels.map((label) => (
                <th key={label} scope="col" className="px-1 text-xs font-medium">
                  {classTitle(label)}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {confusion.matrix.map((row, i) => (
              <tr key={confusion.labels[i]}>
                <th scope="row" className="pr-2 text-left text-xs font-medium">
                  {classTitle(confusion.labels[i])}
                </th>
                {row.map((n, j) => (
                  <td key={j} className="rounded-sm p-2 text-center tabular-nums" style={{ backgroundColor: `rgb(var(--class-3) / ${(0.5 * (n / Math.max(1, totals[i] ?? 1))).toFixed(3)})` }}>
                    {count(n)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Card>
  );
}

const colours = ["class-3", "class-1", "accent", "class-0", "class-4"];

function PerClass({ models }: { models: Compared[] }) {
  const rows = classes.map((name) => ({ label: classTitle(name), ...Object.fromEntries(models.map((m) => [m.id, number(m.metrics, "per_class", name, "f1")])) }));
  const measured = models.some((m) => classes.some((name) => number(m.metrics, "per_class", name, "f1") !== undefined));
  return (
    <ChartFrame
      title="F1 by class"
      kind="bar"
      file="finch-f1-by-class"
      rows={measured ? rows : []}
      columns={[{ key: "label", name: "Class" }, ...models.map((m) => ({ key: m.id, name: m.id, numeric: true, show: (v: unknown) => fixed(v as number, 3) }))]}
      data={() => ({
        labels: classes.map((name) => classTitle(name)),
        datasets: models.map((m, i) => ({ type: "bar" as const, label: m.id, data: classes.map((name) => number(m.metrics, "per_class", name, "f1") ?? null), backgroundColor: tokenColour(colours[i % colours.length]!) })),
      })}
      options={() => ({ scales: { y: { min: 0, max: 1 }, x: { grid: { display: false } } } })}
    />
  );
}

export function Comparison({ ids }: { ids: string[] }) {
  const compared = useQuery(compareQuery(ids));
  if (ids.length === 0) return <Card><Empty title="No model is chosen">Choose one above to see it, several to compare them.</Empty></Card>;
  return (
    <Loaded query={compared} label="Metrics are being asked for" skeleton="h-80">
      {({ models }) => (
        <>
          <div className="grid gap-4 xl:grid-cols-2">
            <Metrics models={models} />
            <PerClass models={models} />
          </div>
          <div className="grid gap-4 2xl:grid-cols-2">
            {models.map((model) => (
              <Matrix key={model.id} model={model} />
            ))}
          </div>
        </>
      )}
    </Loaded>
  );
}
