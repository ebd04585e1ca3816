"use client";

import { useQuery } from "@tanstack/react-query";

import { tokenColour } from "@/components/charts/colour";
import { ChartFrame } from "@/components/charts/frame";
import { ClassLabel } from "@/components/class-label";
import { curveOf } from "@/components/models/compare";
import { Loaded } from "@/components/states";
import { Card } from "@/components/ui/card";
import { Table } from "@/components/ui/table";
import { modelQuery, samplesQuery } from "@/lib/api/queries";
import { fixed, signed } from "@/lib/format";
import { fields, number, text } from "@/lib/read";

function Curve({ id, lines }: { id: string; lines: unknown }) {
  const points = curveOf(lines);
  const line = (label: string, key: "loss" | "macro_f1" | "log_loss", colour: string, dash: number[]) => ({
    type: "line" as const,
    label,
    yAxisID: key === "macro_f1" ? "share" : "y",
    data: points.filter((p) => p[key] !== undefined).map((p) => ({ x: p.step, y: p[key] ?? null })),
    borderColor: tokenColour(colour),
    backgroundColor: tokenColour(colour),
    borderDash: dash,
    pointRadius: key === "loss" ? 0 : 3,
    borderWidth: 2,
  });
  return (
    <ChartFrame
      title="Training curve"
      hint={`Of ${id}: loss while training, log loss and macro F1 on the validation data.`}
      kind="line"
      file={`finch-${id}-curve`}
      rows={points}
      columns={[
        { key: "step", name: "Step", numeric: true },
        { key: "loss", name: "Loss", numeric: true, show: (v) => fixed(v as number, 4) },
        { key: "log_loss", name: "Log loss", numeric: true, show: (v) => fixed(v as number, 4) },
        { key: "macro_f1", name: "Macro F1", numeric: true, show: (v) => fixed(v as number, 4) },
      ]}
      data={() => ({ datasets: [line("training loss", "loss", "class-2", []), line("log loss", "log_loss", "class-1", [5, 3]), line("macro F1", "macro_f1", "class-3", [])] })}
      options={() => ({
        scales: { x: { type: "linear" as const, title: { display: true, text: "step" } }, y: { title: { display: true, text: "loss" } }, share: { position: "right" as const, min: 0, max: 1, grid: { display: false }, title: { display: true, text: "macro F1" } } },
      })}
    />
  );
}

function Samples({ id }: { id: string }) {
  const samples = useQuery(samplesQuery(id));
  return (
    <Card title="Sample predictions" hint="finch models attach --samples puts them there.">
      <Loaded query={samples} label="Samples are being asked for">
        {(rows) =>
          rows.length === 0 ? (
            <p className="text-sm text-muted">None is attached.</p>
          ) : (
            <Table
              name={`Sample predictions of ${id}`}
              rows={rows}
              keyOf={(_, index) => index}
              columns={[
                { name: "Text", className: "min-w-64", show: (r) => text(r, "text") ?? text(r, "body") ?? "–" },
                { name: "Label", show: (r) => <ClassLabel name={text(r, "label")} /> },
                { name: "Score", numeric: true, show: (r) => signed(number(r, "score")) },
              ]}
            />
          )
        }
      </Loaded>
    </Card>
  );
}

/** The first of the chosen models: card, curve, samples. */
export function Details({ id }: { id: string }) {
  const model = useQuery(modelQuery(id));
  return (
    <Loaded query={model} label="The model is being asked for" skeleton="h-60">
      {(data) => (
        <div className="grid gap-4 xl:grid-cols-2">
          <Curve id={data.id} lines={data.training_curve} />
          <Card title={<>Card of {data.id}</>} hint={data.note ?? undefined}>
            <dl className="grid max-h-80 grid-cols-[max-content_1fr] gap-x-6 gap-y-1 overflow-y-auto text-sm" tabIndex={0}>
              {[...Object.entries(fields(data.card)), ...Object.entries(fields(fields(data.card)["hyperparameters"]))]
                .filter(([, value]) => ["string", "number", "boolean"].includes(typeof value))
                .map(([key, value]) => (
                  <div key={key} className="contents">
                    <dt className="text-muted">{key.replaceAll("_", " ")}</dt>
                    <dd className="min-w-0 break-words">{String(value)}</dd>
                  </div>
                ))}
            </dl>
          </Card>
          <Samples id={data.id} />
        </div>
      )}
    </Loaded>
  );
}
