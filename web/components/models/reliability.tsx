"use client";

import { tokenColour } from "@/components/charts/colour";
import { ChartFrame } from "@/components/charts/frame";
import { modelColours } from "@/components/models/colours";
import { reliabilityOf } from "@/components/models/compare";
import { Empty } from "@/components/states";
import type { Schemas } from "@/lib/api/client";
import { count, fixed } from "@/lib/format";

type Compared = Schemas["ModelComparison"]["models"][number];

/** How often the models are right where they say how sure they are; the diagonal is what they claim. */
export function Reliability({ models }: { models: Compared[] }) {
  const rows = models.flatMap((m) => reliabilityOf(m.metrics).map((point) => ({ model: m.id, ...point })));
  return (
    <ChartFrame
      title="Reliability"
      hint="How often a model is right among answers of equal confidence. Below the line it is surer than it should be."
      kind="line"
      file="finch-reliability"
      rows={rows}
      empty={<Empty title="No evaluation with reliability is attached">finch eval --json writes one; finch models attach --evaluation puts it here.</Empty>}
      columns={[
        { key: "model", name: "Model" },
        { key: "confidence", name: "Confidence", numeric: true, show: (v) => fixed(v as number, 3) },
        { key: "accuracy", name: "Accuracy", numeric: true, show: (v) => fixed(v as number, 3) },
        { key: "n", name: "Texts", numeric: true, show: (v) => count(v as number) },
      ]}
      data={() => ({
        datasets: [
          { type: "line" as const, label: "as sure as right", data: [{ x: 0, y: 0 }, { x: 1, y: 1 }], borderColor: tokenColour("muted"), borderDash: [4, 4], borderWidth: 1, pointRadius: 0 },
          ...models.map((m, i) => {
            const colour = tokenColour(modelColours[i % modelColours.length]!);
            return { type: "line" as const, label: m.id, data: reliabilityOf(m.metrics).map((p) => ({ x: p.confidence, y: p.accuracy })), borderColor: colour, backgroundColor: colour, borderWidth: 2, pointRadius: 4 };
          }),
        ],
      })}
      options={() => ({
        scales: { x: { type: "linear" as const, min: 0, max: 1, title: { display: true, text: "confidence" } }, y: { min: 0, max: 1, title: { display: true, text: "accuracy" } } },
      })}
    />
  );
}
