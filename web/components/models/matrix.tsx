"use client";

import { Download, Image as ImageIcon } from "lucide-react";

import { savePng } from "@/components/charts/png";
import { matrixPicture } from "@/components/models/matrix-picture";
import { Button } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import type { Schemas } from "@/lib/api/client";
import { classTitle } from "@/lib/classes";
import { csvText } from "@/lib/csv";
import { download } from "@/lib/download";
import { count } from "@/lib/format";

type Compared = Schemas["ModelComparison"]["models"][number];
type Confusion = NonNullable<Compared["confusion_matrix"]>;

function saveCsv(id: string, { labels, matrix }: Confusion) {
  download(`finch-${id}-confusion.csv`, new Blob([csvText(["true", ...labels], matrix.map((row, i) => [labels[i], ...row]))], { type: "text/csv" }));
}

/** The confusion matrix: a table that is its own chart. */
export function Matrix({ model }: { model: Compared }) {
  const confusion = model.confusion_matrix;
  if (!confusion) return null;
  const totals = confusion.matrix.map((row) => row.reduce((a, b) => a + b, 0));
  const name = `Confusion of ${model.id}`;
  return (
    <Card
      title={name}
      hint="A row is the true class, a column what the model said; shades are shares of the row."
      actions={
        <div role="group" aria-label={`${name}: export`} className="flex">
          <Button look="ghost" size="icon" aria-label={`${name}: save as CSV`} title="CSV" onClick={() => saveCsv(model.id, confusion)}>
            <Download />
          </Button>
          <Button look="ghost" size="icon" aria-label={`${name}: save as PNG`} title="PNG" onClick={() => savePng(matrixPicture(name, confusion), `finch-${model.id}-confusion.png`)}>
            <ImageIcon />
          </Button>
        </div>
      }
    >
      <div className="overflow-x-auto" tabIndex={0} role="region" aria-label={`Confusion matrix of ${model.id}`}>
        <table className="w-full table-fixed border-separate border-spacing-0.5 text-sm">
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
