"use client";

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { FileUp } from "lucide-react";
import { useState, type DragEvent } from "react";

import { previewOf, textColumnOf, type Preview } from "@/components/batches/preview";
import { uploadBatch } from "@/components/batches/upload";
import { PageHead } from "@/components/shell";
import { Empty, Failure, Loaded } from "@/components/states";
import { Time } from "@/components/time";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import { Field, Input, Select } from "@/components/ui/fields";
import { Progress } from "@/components/ui/progress";
import { Table, type Column } from "@/components/ui/table";
import { cn } from "@/lib/cn";
import { api, call, type Batch } from "@/lib/api/client";
import { batchesQuery, modelsQuery } from "@/lib/api/queries";
import { bytes, count, duration, percent } from "@/lib/format";
import { number, text } from "@/lib/read";

const tones = { queued: "plain", running: "accent", done: "good", failed: "danger", cancelled: "warn" } as const;
const formats = ["parquet", "csv", "jsonl"] as const;

function Drop({ onFile }: { onFile: (file: File) => void }) {
  const [over, setOver] = useState(false);
  const take = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    const file = event.dataTransfer.files[0];
    if (file !== undefined) onFile(file);
  };
  return (
    <label
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={take}
      className={cn(
        "flex cursor-pointer flex-col items-center gap-2 rounded-lg border-2 border-dashed p-8 text-center focus-within:outline focus-within:outline-2 focus-within:outline-accent hover:border-accent",
        over && "border-accent bg-accent/10",
      )}
    >
      <FileUp className="size-8 text-muted" aria-hidden />
      <span className="font-medium">Drop a table here, or choose one</span>
      <span className="text-sm text-muted">CSV, TSV, JSONL, JSON or Parquet; texts also as .gz or .zst</span>
      <input
        type="file"
        className="sr-only"
        accept=".csv,.tsv,.jsonl,.json,.parquet,.gz,.zst"
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file !== undefined) onFile(file);
          event.target.value = "";
        }}
      />
    </label>
  );
}

type Chosen = { file: File; preview: Preview | null };

function Send({ chosen, onDone }: { chosen: Chosen; onDone: () => void }) {
  const client = useQueryClient();
  const models = useQuery(modelsQuery);
  const [column, setColumn] = useState(chosen.preview ? textColumnOf(chosen.preview) : "");
  const [model, setModel] = useState("");
  const [sent, setSent] = useState(0);
  const send = useMutation({
    mutationFn: () => uploadBatch(chosen.file, column, model, setSent),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ["batches"] });
      onDone();
    },
  });
  const { preview } = chosen;
  return (
    <div className="space-y-4">
      <p className="text-sm">
        <span className="font-medium">{chosen.file.name}</span> <span className="text-muted">{bytes(chosen.file.size)}</span>
      </p>
      {preview !== null && preview.columns.length > 0 && (
        <Table
          name={`The first rows of ${chosen.file.name}`}
          rows={preview.rows}
          keyOf={(_, index) => index}
          height={240}
          columns={preview.columns.map((name, i): Column<string[]> => ({ name, className: cn("max-w-80 truncate", name === column && "bg-accent/10"), show: (row) => row[i] ?? "" }))}
        />
      )}
      {preview === null && <p className="text-sm text-muted">This kind of file has no preview here; the server reads it. Name the column of the texts where it is neither body nor text.</p>}
      <div className="flex flex-wrap gap-4">
        <Field label="Column of the texts" className="w-56">
          {preview !== null && preview.columns.length > 0 ? (
            <Select value={column} onChange={(e) => setColumn(e.target.value)}>
              {preview.columns.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </Select>
          ) : (
            <Input value={column} onChange={(e) => setColumn(e.target.value)} placeholder="body, else text" />
          )}
        </Field>
        <Field label="Model" className="w-64">
          <Select value={model} onChange={(e) => setModel(e.target.value)}>
            <option value="">the default one</option>
            {models.data?.served.map((m) => (
              <option key={m.id} value={m.id}>
                {m.id}
              </option>
            ))}
          </Select>
        </Field>
      </div>
      {send.isPending && (
        <div>
          <Progress value={sent} label="Upload" />
          <p className="mt-1 text-sm text-muted">{percent(sent, 0)} sent</p>
        </div>
      )}
      {send.error && <Failure error={send.error} onRetry={() => send.mutate()} />}
      <div className="flex gap-2">
        <Button look="solid" disabled={send.isPending} onClick={() => send.mutate()}>
          Score it
        </Button>
        <Button disabled={send.isPending} onClick={onDone}>
          Another file
        </Button>
      </div>
    </div>
  );
}

function Summary({ batch }: { batch: Batch }) {
  const summary = batch.result?.["summary"];
  return (
    <p className="text-sm text-muted">
      {count(number(summary, "scored"))} of {count(number(summary, "rows"))} rows scored by {text(summary, "model") ?? "–"}, {count(number(summary, "skipped"))} without a text, in {duration(number(summary, "seconds"))}; column {text(summary, "text_column") ?? "–"}.
    </p>
  );
}

function Job({ batch }: { batch: Batch }) {
  const client = useQueryClient();
  const cancel = useMutation({
    mutationFn: () => call(api.DELETE("/api/v1/batches/{id}", { params: { path: { id: batch.id } } })),
    onSettled: () => client.invalidateQueries({ queryKey: ["batches"] }),
  });
  const [done, total] = [number(batch.rows, "done") ?? 0, number(batch.rows, "total")];
  const name = text(batch.input, "name") ?? batch.id;
  const active = batch.state === "queued" || batch.state === "running";
  return (
    <li className="space-y-2 py-3">
      <div className="flex flex-wrap items-center justify-between gap-2">
        <div className="flex min-w-0 flex-wrap items-center gap-x-3 gap-y-1">
          <Badge tone={tones[batch.state]}>{batch.state}</Badge>
          <span className="min-w-0 break-all font-medium">{name}</span>
          <span className="text-sm text-muted">
            {bytes(number(batch.input, "bytes"))}, <Time at={batch.created} />
          </span>
        </div>
        <div className="flex flex-wrap gap-2">
          {batch.state === "done" &&
            formats.map((format) => (
              <Button key={format} size="small" asChild>
                <a href={`/api/v1/batches/${encodeURIComponent(batch.id)}/result?format=${format}`} download aria-label={`Result of ${name} as ${format}`}>
                  {format}
                </a>
              </Button>
            ))}
          {active && (
            <Button size="small" look="danger" disabled={cancel.isPending} onClick={() => cancel.mutate()} aria-label={`Stop ${name}`}>
              Stop
            </Button>
          )}
        </div>
      </div>
      {active && (
        <>
          <Progress value={total ? done / total : batch.state === "queued" ? 0 : null} label={`Progress of ${name}`} />
          <p className="text-sm text-muted">
            {count(done)} {total ? `of ${count(total)} rows` : "rows so far"}
          </p>
        </>
      )}
      {batch.state === "done" && <Summary batch={batch} />}
      {batch.error && <p className="break-words text-sm text-danger">{batch.error}</p>}
      {cancel.error && <Failure error={cancel.error} />}
    </li>
  );
}

export function Batches() {
  const batches = useQuery(batchesQuery);
  const [chosen, setChosen] = useState<Chosen | null>(null);
  return (
    <>
      <PageHead title="Batches" hint="Whole tables, scored in the background. Jobs go on without this page, and over a restart of the server." />
      <Card title="New job">
        {chosen === null ? (
          <Drop onFile={(file) => void previewOf(file).then((preview) => setChosen({ file, preview }))} />
        ) : (
          <Send key={chosen.file.name + chosen.file.lastModified} chosen={chosen} onDone={() => setChosen(null)} />
        )}
      </Card>
      <Card title="Jobs">
        <Loaded query={batches} label="Jobs are being asked for">
          {(data) =>
            data.batches.length === 0 ? (
              <Empty title="No job yet">A table that is sent above appears here.</Empty>
            ) : (
              <ul aria-live="polite" className="divide-y">
                {data.batches.map((batch) => (
                  <Job key={batch.id} batch={batch} />
                ))}
              </ul>
            )
          }
        </Loaded>
      </Card>
    </>
  );
}
