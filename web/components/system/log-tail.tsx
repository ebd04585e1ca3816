"use client";

import { useQuery } from "@tanstack/react-query";
import { useRef, useState } from "react";

import { Loaded } from "@/components/states";
import { Time } from "@/components/time";
import { Badge } from "@/components/ui/badge";
import { Card } from "@/components/ui/card";
import { Switch } from "@/components/ui/switch";
import { Table } from "@/components/ui/table";
import { askLog } from "@/lib/api/queries";
import { fixed } from "@/lib/format";
import { number, text } from "@/lib/read";

type Line = { at: number; line: unknown };
type Tail = { last: number; lines: Line[] };
const linesKept = 1000;
/** What the pages of the dashboard ask by themselves, again and again. */
const polled = new Set(["health", "ready", "metrics", "system", "log"]);
/** Its files are in no route of the API. */
const isOwn = (line: unknown) => polled.has(text(line, "route") ?? "") || (text(line, "route") === "none" && number(line, "status") === 200);

/** What was there and what is new. A number that has gone down is another life of the server: the tail begins anew. */
export function tailOf(before: Tail, lines: unknown[], last: number): Tail {
  const kept = last < before.last ? [] : before.lines;
  const first = last - lines.length + 1;
  return { last, lines: [...kept, ...lines.map((line, i) => ({ at: first + i, line }))].slice(-linesKept) };
}

export function isShown(line: unknown, errors: boolean, all: boolean): boolean {
  if (errors) return text(line, "level") === "error" || (number(line, "status") ?? 0) >= 400;
  return all || !isOwn(line);
}

const toneOf = (status: number | undefined) => (status === undefined || status < 400 ? "plain" : status < 500 ? "warn" : "danger");

/** The end of the access log, for keys that may administer. */
export function LogTail() {
  const tail = useRef<Tail>({ last: 0, lines: [] });
  const [errors, setErrors] = useState(false);
  const [all, setAll] = useState(false);
  const log = useQuery({
    queryKey: ["log"],
    queryFn: async ({ signal }) => {
      const { lines, last } = await askLog(tail.current.last, signal);
      tail.current = tailOf(tail.current, lines, last);
      return tail.current;
    },
    refetchInterval: 2_000,
  });
  return (
    <Card
      title="Log"
      hint="The access log's end, newest first: no texts, no keys."
      actions={
        <>
          <Switch label="Failures only" checked={errors} onChange={setErrors} />
          <Switch label="The dashboard's own too" checked={all} onChange={setAll} />
        </>
      }
    >
      <Loaded query={log} label="The log is being asked for">
        {({ lines }) => (
          <Table
            name="The last lines of the log"
            rows={lines.filter(({ line }) => isShown(line, errors, all)).reverse()}
            keyOf={({ at }) => at}
            height={300}
            columns={[
              { name: "Time", show: ({ line }) => <Time at={text(line, "time")} /> },
              {
                name: "Status",
                show: ({ line }) => <Badge tone={text(line, "level") === "error" ? "danger" : toneOf(number(line, "status"))}>{number(line, "status") ?? text(line, "level") ?? "–"}</Badge>,
              },
              { name: "What", show: ({ line }) => <code>{`${text(line, "method") ?? ""} ${text(line, "path") ?? text(line, "event") ?? "–"}`.trim()}</code> },
              { name: "Key", show: ({ line }) => text(line, "key") || "–" },
              { name: "Took", numeric: true, show: ({ line }) => (number(line, "ms") === undefined ? "–" : `${fixed(number(line, "ms"), 1)} ms`) },
              { name: "Error", show: ({ line }) => text(line, "error") ?? "–" },
              { name: "Request", show: ({ line }) => <code className="text-xs">{text(line, "request_id") ?? "–"}</code> },
            ]}
          />
        )}
      </Loaded>
    </Card>
  );
}
