"use client";

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";

import { Comparison } from "@/components/models/comparison";
import { Details } from "@/components/models/details";
import { PageHead } from "@/components/shell";
import { Failure, Loaded } from "@/components/states";
import { Time } from "@/components/time";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import { Dialog } from "@/components/ui/dialog";
import { Field, Input } from "@/components/ui/fields";
import { Table } from "@/components/ui/table";
import { api, call, type Schemas } from "@/lib/api/client";
import { modelsQuery, recordQuery } from "@/lib/api/queries";
import { bytes } from "@/lib/format";
import { useUrlState } from "@/lib/url-state";

type Version = Schemas["ModelVersion"];
type Served = Schemas["ServedModel"];
type Change = { action: "promote" | "rollback"; id: string };

/** Registered versions, and what is served without being registered. */
function rowsOf(served: Served[], registered: Version[]): Version[] {
  const known = new Set(registered.map((v) => v.id));
  const names = new Set(registered.map((v) => v.name));
  return [...registered, ...served.filter((s) => !known.has(s.id) && !names.has(s.name)).map((s) => ({ id: s.name, name: s.name, version: null, digest: s.version }))];
}

function ChangeDialog({ change, onClose }: { change: Change | null; onClose: () => void }) {
  const client = useQueryClient();
  const [note, setNote] = useState("");
  const act = useMutation({
    mutationFn: ({ action, id }: Change) => {
      const options = { params: { path: { id } }, body: note.trim() === "" ? {} : { note: note.trim() } };
      return call(action === "promote" ? api.POST("/api/v1/models/{id}/promote", options) : api.POST("/api/v1/models/{id}/rollback", options));
    },
    onSuccess: () => {
      for (const key of ["models", "record"]) void client.invalidateQueries({ queryKey: [key] });
      close();
    },
  });
  const close = () => {
    act.reset();
    setNote("");
    onClose();
  };
  const title = change?.action === "promote" ? `Promote ${change.id} to production?` : `Take ${change?.id ?? ""} back to the version before?`;
  return (
    <Dialog open={change !== null} title={title} onClose={close}>
      <form
        className="space-y-4"
        onSubmit={(event) => {
          event.preventDefault();
          if (change !== null) act.mutate(change);
        }}
      >
        <p className="text-sm text-muted">No request fails meanwhile. The change, who made it and why are kept for good.</p>
        <Field label="Why">
          <Input value={note} onChange={(e) => setNote(e.target.value)} maxLength={500} autoFocus />
        </Field>
        {act.error && <Failure error={act.error} />}
        <Button type="submit" look="solid" disabled={act.isPending}>
          {change?.action === "promote" ? "Promote" : "Roll back"}
        </Button>
      </form>
    </Dialog>
  );
}

function Versions({ rows, served, chosen, onChoose, onChange }: { rows: Version[]; served: Served[]; chosen: string[]; onChoose: (ids: string[]) => void; onChange: (change: Change) => void }) {
  return (
    <Table
      name="Versions of models"
      rows={rows}
      keyOf={(row) => row.id}
      columns={[
        {
          name: "Chosen",
          quiet: true,
          show: (row) => (
            <input
              type="checkbox"
              className="size-4 accent-accent"
              aria-label={`Show ${row.id}`}
              checked={chosen.includes(row.id)}
              onChange={() => onChoose(chosen.includes(row.id) ? chosen.filter((id) => id !== row.id) : [...chosen, row.id])}
            />
          ),
        },
        { name: "Version", show: (row) => <span className="font-medium">{row.id}</span> },
        {
          name: "State",
          show: (row) => (
            <span className="flex flex-wrap gap-1">
              {(row.stages ?? []).map((stage) => (
                <Badge key={stage} tone="accent">
                  {stage}
                </Badge>
              ))}
              {served.some((s) => s.id === row.id || s.name === row.id) && <Badge tone="good">serves</Badge>}
              {row.version === null && <Badge>built in</Badge>}
            </span>
          ),
        },
        { name: "Made", show: (row) => <Time at={row.created} /> },
        { name: "Size", numeric: true, show: (row) => bytes(row.bytes) },
        { name: "Note", show: (row) => row.note ?? "–" },
        {
          name: "Change",
          quiet: true,
          show: (row) => (
            <span className="flex gap-1">
              {!row.stages?.includes("production") && (
                <Button size="small" onClick={() => onChange({ action: "promote", id: row.id })} aria-label={`Promote ${row.id}`}>
                  Promote
                </Button>
              )}
              {row.stages?.includes("production") && (
                <Button size="small" onClick={() => onChange({ action: "rollback", id: row.name })} aria-label={`Roll back ${row.name}`}>
                  Roll back
                </Button>
              )}
            </span>
          ),
        },
      ]}
    />
  );
}

function Record() {
  const record = useQuery(recordQuery);
  return (
    <Card title="Record" hint="Which version served when, and why it changed.">
      <Loaded query={record} label="The record is being asked for">
        {(data) =>
          data.record.length === 0 ? (
            <p className="text-sm text-muted">Nothing was promoted yet.</p>
          ) : (
            <Table
              name="Record of changes"
              rows={data.record}
              keyOf={(_, index) => index}
              height={300}
              columns={[
                { name: "Time", show: (r) => <Time at={r.time} /> },
                { name: "Model", show: (r) => r.name },
                { name: "Change", show: (r) => `${r.action}${r.stage ? ` (${r.stage})` : ""}` },
                { name: "From", numeric: true, show: (r) => r.from ?? "–" },
                { name: "To", numeric: true, show: (r) => r.to ?? "–" },
                { name: "By", show: (r) => r.by ?? "–" },
                { name: "Why", show: (r) => r.note ?? "–" },
              ]}
            />
          )
        }
      </Loaded>
    </Card>
  );
}

export function Models() {
  const models = useQuery(modelsQuery);
  const [filters, set] = useUrlState({ models: "" });
  const [change, setChange] = useState<Change | null>(null);
  return (
    <>
      <PageHead title="Models" hint="Versions, what they are worth, and which one serves." />
      <Loaded query={models} label="Models are being asked for" skeleton="h-52">
        {(data) => {
          const rows = rowsOf(data.served, data.registered);
          const asked = filters.models.split(",").filter((id) => rows.some((row) => row.id === id));
          const chosen = filters.models === "" ? rows.slice(0, 1).map((row) => row.id) : asked;
          return (
            <>
              <Card title="Versions" hint="Choose one to look at it, several to compare them.">
                <Versions rows={rows} served={data.served} chosen={chosen} onChoose={(ids) => set({ models: ids.join(",") || "none" })} onChange={setChange} />
              </Card>
              <Comparison ids={chosen} />
              {chosen[0] !== undefined && <Details id={chosen[0]} />}
            </>
          );
        }}
      </Loaded>
      <Record />
      <ChangeDialog change={change} onClose={() => setChange(null)} />
    </>
  );
}
