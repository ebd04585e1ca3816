"use client";

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useState } from "react";

import { ClassLabel } from "@/components/class-label";
import { LabelJobs } from "@/components/labels/jobs";
import { PageHead } from "@/components/shell";
import { Empty, Failure, Loaded } from "@/components/states";
import { Badge } from "@/components/ui/badge";
import { Button } from "@/components/ui/button";
import { Card } from "@/components/ui/card";
import { Field, Input, Select } from "@/components/ui/fields";
import { Progress } from "@/components/ui/progress";
import { Switch } from "@/components/ui/switch";
import { Table } from "@/components/ui/table";
import { api, call, type ReviewItem, type Schemas } from "@/lib/api/client";
import { reviewsQuery } from "@/lib/api/queries";
import { classes, type ClassName } from "@/lib/classes";
import { count, percent, signed } from "@/lib/format";
import { list, number, text } from "@/lib/read";
import { usePreferences } from "@/lib/store";
import { useUrlState } from "@/lib/url-state";

const queueSize = 50;
type Reviews = Schemas["Reviews"];
type Mark = { hash: string; label: ClassName | null };

/** A key meant for a field, or for the browser, labels nothing. */
function isForDesk(event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return false;
  return !(event.target instanceof HTMLElement && event.target.closest("input, select, textarea, dialog"));
}

function Opinions({ item }: { item: ReviewItem }) {
  return (
    <div className="flex flex-wrap items-center gap-x-5 gap-y-1 text-sm">
      <span>
        The machine: <ClassLabel name={item.label} /> {item.confidence !== null && item.confidence !== undefined && `(${percent(item.confidence, 0)})`}
      </span>
      {list(item.opinions).map((o, index) => (
        <span key={index} className="text-muted">
          {text(o, "source")}: <ClassLabel name={text(o, "label")} />
        </span>
      ))}
      {item.reason && <span className="basis-full text-muted">{item.reason}</span>}
    </div>
  );
}

function Desk({ reviews, job, reviewer, blind, onEmpty }: { reviews: Reviews; job: string; reviewer: string; blind: boolean; onEmpty: () => void }) {
  const [at, setAt] = useState(0);
  const [marks, setMarks] = useState<Mark[]>([]);
  const item = reviews.items[at];
  const mark = useMutation({
    mutationFn: (m: Mark) => call(api.POST("/api/v1/reviews", { body: { ...m, ...(job ? { job } : {}), ...(reviewer ? { reviewer } : {}) } })),
  });
  const { mutate, isPending } = mark;
  const label = useCallback(
    (name: ClassName) => {
      if (item === undefined || isPending) return;
      mutate(
        { hash: item.hash, label: name },
        {
          onSuccess: () => {
            setMarks((all) => [...all, { hash: item.hash, label: name }]);
            setAt((i) => i + 1);
          },
        },
      );
    },
    [item, isPending, mutate],
  );
  const undo = useCallback(() => {
    const last = marks[marks.length - 1];
    if (last === undefined || isPending) return;
    mutate(
      { hash: last.hash, label: null },
      {
        onSuccess: () => {
          setMarks((all) => all.slice(0, -1));
          setAt((i) => i - 1);
        },
      },
    );
  }, [marks, isPending, mutate]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (!isForDesk(event)) return;
      const name = classes[Number(event.key) - 1];
      if (name !== undefined) label(name);
      else if (event.key === "u") undo();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [label, undo]);
  const agreed = marks.filter((m) => reviews.items.find((i) => i.hash === m.hash)?.label === m.label).length;
  return (
    <div className="space-y-4">
      <div aria-live="polite">
        {item === undefined ? (
          <Empty title="This part of the queue is done">
            <Button look="solid" onClick={onEmpty}>
              More
            </Button>
          </Empty>
        ) : (
          <blockquote className="min-h-20 whitespace-pre-wrap break-words rounded-md bg-raised p-4 text-lg leading-relaxed">{item.text}</blockquote>
        )}
      </div>
      {item !== undefined && !blind && <Opinions item={item} />}
      <div role="group" aria-label="Label this text" className="grid gap-2 sm:grid-cols-5">
        {classes.map((name, index) => (
          <Button key={name} disabled={item === undefined || isPending} onClick={() => label(name)} aria-keyshortcuts={String(index + 1)} className="h-11">
            <kbd className="rounded border bg-raised px-1.5 text-xs">{index + 1}</kbd> <ClassLabel name={name} />
          </Button>
        ))}
      </div>
      <div className="flex flex-wrap items-center justify-between gap-2 text-sm text-muted">
        <Button size="small" disabled={marks.length === 0 || isPending} onClick={undo} aria-keyshortcuts="u">
          <kbd className="rounded border bg-raised px-1.5 text-xs">u</kbd> Take the last one back
        </Button>
        <span>
          {count(marks.length)} now{marks.length > 0 && !blind && `, ${percent(agreed / marks.length, 0)} as the machine`}
        </span>
      </div>
      {mark.error && <Failure error={mark.error} />}
    </div>
  );
}

function Balance({ items }: { items: ReviewItem[] }) {
  return (
    <Table
      name="Classes of the texts in this queue"
      rows={[...classes, null]}
      keyOf={(name) => name ?? "none"}
      columns={[
        { name: "Machine's label", show: (name) => (name === null ? "without a label" : <ClassLabel name={name} />) },
        { name: "Texts", numeric: true, show: (name) => count(items.filter((i) => (i.label ?? null) === name).length) },
      ]}
    />
  );
}

function Agreement({ reviews }: { reviews: Reviews }) {
  const pairs = list(reviews.agreement);
  if (pairs.length === 0) return <Empty title="No two have labelled the same texts yet" />;
  return (
    <Table
      name="Agreement"
      rows={pairs}
      keyOf={(_, index) => index}
      columns={[
        { name: "One", show: (p) => text(p, "a") },
        { name: "Other", show: (p) => text(p, "b") },
        { name: "Texts", numeric: true, show: (p) => count(number(p, "n")) },
        { name: "Agree", numeric: true, show: (p) => percent(number(p, "agree")) },
        { name: "Kappa", numeric: true, show: (p) => `${signed(number(p, "kappa"))} (${signed(number(p, "kappa_low"))} to ${signed(number(p, "kappa_high"))})` },
      ]}
    />
  );
}

export function Labels() {
  const client = useQueryClient();
  const [filters, set] = useUrlState({ job: "", order: "doubt", blind: "" });
  const { reviewer, setReviewer } = usePreferences();
  const [name, setName] = useState<string | null>(null);
  const order = filters.order === "random" || filters.order === "input" ? filters.order : "doubt";
  const reviews = useQuery(reviewsQuery({ ...(filters.job ? { job: filters.job } : {}), ...(reviewer ? { reviewer } : {}), order, limit: queueSize }));
  const again = () => void client.invalidateQueries({ queryKey: ["reviews"] });
  return (
    <>
      <PageHead title="Labels" hint="People look at what the machine labelled, the most doubtful first." />
      <Card>
        <div className="flex flex-wrap items-end gap-x-4 gap-y-3">
          <Field label="Who reviews" className="w-40">
            <Input value={name ?? reviewer} placeholder="your name" maxLength={60} onChange={(e) => setName(e.target.value)} onBlur={() => name !== null && setReviewer(name.trim())} />
          </Field>
          <Field label="Order" className="w-40">
            <Select value={order} onChange={(e) => set({ order: e.target.value })}>
              <option value="doubt">doubtful first</option>
              <option value="random">at random</option>
              <option value="input">as in the input</option>
            </Select>
          </Field>
          <div className="pb-1.5">
            <Switch label="Blind: hide what the machine said" checked={filters.blind !== ""} onChange={(on) => set({ blind: on ? "1" : "" })} />
          </div>
        </div>
      </Card>
      <LabelJobs chosen={filters.job || (reviews.data?.job ?? "")} onChoose={(job) => set({ job })} />
      <Loaded query={reviews} label="The queue is being asked for" skeleton="h-80">
        {(data) =>
          data.job === null ? (
            <Card>
              <Empty title="There is no labelling job yet">finch label makes one; its doubtful texts come here.</Empty>
            </Card>
          ) : (
            <>
              <Card title={<>Job {data.job}</>} actions={<Badge>{count(data.waiting)} waiting</Badge>}>
                <div className="mb-4">
                  <Progress value={(data.done ?? 0) / Math.max(1, (data.done ?? 0) + (data.waiting ?? 0))} label="Texts that this reviewer has labelled" />
                  <p className="mt-1 text-sm text-muted">
                    {count(data.done)} labelled by {data.reviewer}, {count(data.waiting)} to go
                  </p>
                </div>
                <Desk key={reviews.dataUpdatedAt} reviews={data} job={filters.job} reviewer={reviewer} blind={filters.blind !== ""} onEmpty={again} />
              </Card>
              <div className="grid gap-4 xl:grid-cols-2">
                <Card title="Class balance" hint={`Of the next ${data.items.length} texts.`}>
                  {filters.blind ? <p className="text-sm text-muted">Hidden while you label blind.</p> : <Balance items={data.items} />}
                </Card>
                <Card title="Agreement" hint="Cohen's kappa with its 95 % interval. From doubtful texts it says how the hard ones go; label at random for the whole job's." actions={<Button size="small" onClick={again}>Count anew</Button>}>
                  <Agreement reviews={data} />
                </Card>
              </div>
            </>
          )
        }
      </Loaded>
    </>
  );
}
