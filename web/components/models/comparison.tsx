"use client";

import { useQuery } from "@tanstack/react-query";

import { tokenColour } from "@/components/charts/colour";
import { ChartFrame } from "@/components/charts/frame";
import { Disagreements } from "@/components/models/disagreements";
import { Matrix } from "@/components/models/matrix";
import { Reliability } from "@/components/models/reliability";
import { modelColours } from "@/components/models/colours";
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

function PerClass({ models }: { models: Compared[] }) {
  const rows = classes.map((name) => ({ label: classTitle(name), ...Object.fromEntries(models.map((m) => [m.id, number(m.metrics, "per_class", name, "f1")])) }));
  const measured = models.some((m) => classes.some((name) => number(m.metrics, "per_class", name, "f1") !== undefined));
  return (
    <ChartFrame
      title="F1 by class"
      kind="bar"
      file="finch-f1-by-class"
      height={430}
      rows={measured ? rows : []}
      columns={[{ key: "label", name: "Class" }, ...models.map((m) => ({ key: m.id, name: m.id, numeric: true, show: (v: unknown) => fixed(v as number, 3) }))]}
      data={() => ({
        labels: classes.map((name) => classTitle(name).split(" ")),
        datasets: models.map((m, i) => ({ type: "bar" as const, label: m.id, data: classes.map((name) => number(m.metrics, "per_class", name, "f1") ?? null), backgroundColor: tokenColour(modelColours[i % modelColours.length]!) })),
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
            <Reliability models={models} />
          </div>
          <Disagreements ids={ids} />
        </>
      )}
    </Loaded>
  );
}
