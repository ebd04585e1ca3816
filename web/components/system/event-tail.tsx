"use client";

import { useState } from "react";

import { ConnectionBadge } from "@/components/connection";
import { Empty } from "@/components/states";
import { Time } from "@/components/time";
import { Badge } from "@/components/ui/badge";
import { Card } from "@/components/ui/card";
import { number, text } from "@/lib/read";
import { useStream, type StreamEvent } from "@/lib/stream";

type Line = StreamEvent & { seen: number };
const linesKept = 200;

export function tellEvent({ kind, data }: StreamEvent): string {
  switch (kind) {
    case "prediction":
      return `${text(data, "label") ?? "?"} by ${text(data, "model") ?? "?"}: ${text(data, "text") ?? "(text not kept)"}`;
    case "job":
      return `${text(data, "kind") ?? "job"} ${text(data, "input", "name") ?? ""} ${text(data, "state") ?? ""}, ${number(data, "rows", "done") ?? 0} rows${text(data, "error") ? `: ${text(data, "error")}` : ""}`;
    case "model":
      return `${text(data, "action") ?? "change"} of ${text(data, "name") ?? "?"} in ${text(data, "stage") ?? "?"}: ${number(data, "from") ?? "none"} → ${number(data, "to") ?? "none"} by ${text(data, "by") ?? "?"}`;
    default:
      return text(data, "message") ?? JSON.stringify(data);
  }
}

/** What happens on the server, as it happens. */
export function EventTail() {
  const [lines, setLines] = useState<Line[]>([]);
  const connection = useStream("", (events) => {
    const seen = Date.now();
    setLines((all) => [...events.map((e) => ({ ...e, seen })).reverse(), ...all].slice(0, linesKept));
  });
  return (
    <Card title="Events" hint="Predictions kept, jobs, alerts and changes of models, newest first." actions={<ConnectionBadge connection={connection} />}>
      {lines.length === 0 ? (
        <Empty title="Nothing has happened since this page was opened" />
      ) : (
        <ol role="log" aria-label="Events" tabIndex={0} className="max-h-72 space-y-1 overflow-y-auto font-mono text-xs">
          {lines.map((line) => (
            <li key={line.id} className="flex gap-2">
              <span className="shrink-0 text-muted">
                <Time at={line.seen} />
              </span>
              <Badge className="h-5 shrink-0">{line.kind}</Badge>
              <span className="min-w-0 break-words">{tellEvent(line)}</span>
            </li>
          ))}
        </ol>
      )}
    </Card>
  );
}
