"use client";

import { useQueries } from "@tanstack/react-query";

import { ClassLabel } from "@/components/class-label";
import { disagreementsOf } from "@/components/models/compare";
import { Failure, Loading } from "@/components/states";
import { Card } from "@/components/ui/card";
import { Table } from "@/components/ui/table";
import { samplesQuery } from "@/lib/api/queries";
import { count } from "@/lib/format";

/** Texts among the attached samples that the chosen models label differently. */
export function Disagreements({ ids }: { ids: string[] }) {
  const samples = useQueries({ queries: ids.map((id) => samplesQuery(id)) });
  if (ids.length < 2) return null;
  const failed = samples.find((s) => s.error)?.error;
  const waiting = samples.some((s) => s.isPending);
  const { shared, rows } = disagreementsOf(samples.map((s) => s.data ?? []));
  return (
    <Card title="Disagreements" hint={`Of ${count(shared)} texts that more than one of the chosen models has among its samples, those with different labels.`}>
      {failed ? (
        <Failure error={failed} />
      ) : waiting ? (
        <Loading label="Samples are being asked for" />
      ) : shared === 0 ? (
        <p className="text-sm text-muted">The models have no text in common among their samples: finch models attach --samples, with predictions of the same texts for each.</p>
      ) : rows.length === 0 ? (
        <p className="text-sm text-muted">They label all of them alike.</p>
      ) : (
        <Table
          name="Texts that the models label differently"
          rows={rows}
          keyOf={(row) => row.text}
          columns={[
            { name: "Text", className: "min-w-64", show: (r) => r.text },
            ...(rows.some((r) => r.truth !== undefined) ? [{ name: "True class", show: (r: (typeof rows)[number]) => <ClassLabel name={r.truth} /> }] : []),
            ...ids.map((id, i) => ({ name: id, show: (r: (typeof rows)[number]) => (r.labels[i] === undefined ? "–" : <ClassLabel name={r.labels[i]} />) })),
          ]}
        />
      )}
    </Card>
  );
}
