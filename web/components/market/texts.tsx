"use client";

import { useQuery } from "@tanstack/react-query";
import { X } from "lucide-react";

import { ClassLabel } from "@/components/class-label";
import { Empty, Loaded } from "@/components/states";
import { Time } from "@/components/time";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import { Table } from "@/components/ui/table";
import { predictionsQuery, type MarketSpan } from "@/lib/api/queries";
import { count, signed } from "@/lib/format";

const textsMost = 500;

/** What was said in one bucket. */
export function Texts({ ticker, span, onClose }: { ticker: string; span: MarketSpan & { from: string; to: string }; onClose: () => void }) {
  const found = useQuery(predictionsQuery({ ...span, ...(ticker ? { ticker } : {}), limit: textsMost }));
  return (
    <Card
      title="Texts behind the point"
      hint={
        <>
          <Time at={span.from} /> to <Time at={span.to} />
        </>
      }
      actions={
        <Button look="ghost" size="icon" aria-label="Close the texts" onClick={onClose}>
          <X />
        </Button>
      }
    >
      <Loaded query={found} label="Texts are being asked for">
        {({ predictions }) =>
          predictions.length === 0 ? (
            <Empty title="No text of this bucket is kept">Sums outlive texts where a history is pruned.</Empty>
          ) : (
            <>
              <Table
                name="Texts behind the point"
                rows={predictions}
                keyOf={(row) => row.id}
                columns={[
                  { name: "Time", show: (r) => <span className="whitespace-nowrap"><Time at={r.time} /></span> },
                  { name: "Label", show: (r) => <ClassLabel name={r.label} /> },
                  { name: "Score", numeric: true, show: (r) => signed(r.score) },
                  {
                    name: "Text",
                    className: "min-w-64",
                    show: (r) => (
                      <>
                        {r.text ?? <span className="text-muted">(not kept)</span>} {r.spam && <Badge tone="warn">spam</Badge>} {r.near_duplicate && <Badge>near-duplicate</Badge>}
                      </>
                    ),
                  },
                  { name: "Reach", numeric: true, show: (r) => count(r.reach) },
                ]}
              />
              {predictions.length === textsMost && <p className="mt-2 text-sm text-muted">The newest {textsMost}. A shorter bucket shows the rest.</p>}
            </>
          )
        }
      </Loaded>
    </Card>
  );
}
