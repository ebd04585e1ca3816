"use client";

import { useEffect, useRef, useState } from "react";

export type Connection = "connecting" | "live" | "waiting";
export type StreamEvent = { id: string; kind: string; data: unknown };

const kinds = ["prediction", "job", "alert", "model"] as const;
const waitFirst = 1_000;
const waitMost = 15_000;

/** Server-sent events of /api/v1/stream. Events are handed over once a frame at most, in the order they came, so that fifty a second
 * cost no more paints than one. After a break it goes on behind the last event it saw. */
export function useStream(query: string, onEvents: (events: StreamEvent[]) => void, enabled = true): Connection {
  const [connection, setConnection] = useState<Connection>("connecting");
  const handler = useRef(onEvents);
  handler.current = onEvents;

  useEffect(() => {
    if (!enabled) return;
    let source: EventSource | null = null;
    let last = "";
    let wait = waitFirst;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let frame = 0;
    let pending: StreamEvent[] = [];

    const flush = () => {
      frame = 0;
      const events = pending;
      pending = [];
      handler.current(events);
    };
    const take = (event: MessageEvent<string>) => {
      last = event.lastEventId || last;
      try {
        pending.push({ id: event.lastEventId, kind: event.type, data: JSON.parse(event.data) });
      } catch {
        return; /* not an event of ours */
      }
      if (frame === 0) frame = requestAnimationFrame(flush);
    };
    const open = () => {
      const params = new URLSearchParams(query);
      if (last !== "") params.set("last_event_id", last);
      source = new EventSource(`/api/v1/stream?${params}`);
      source.onopen = () => {
        wait = waitFirst;
        setConnection("live");
      };
      /* The browser's own reconnecting gives up on a refusal; this one does not, and it waits longer each time. */
      source.onerror = () => {
        source?.close();
        setConnection("waiting");
        timer = setTimeout(open, wait);
        wait = Math.min(wait * 2, waitMost);
      };
      for (const kind of kinds) source.addEventListener(kind, take);
    };
    open();
    return () => {
      source?.close();
      clearTimeout(timer);
      cancelAnimationFrame(frame);
    };
  }, [query, enabled]);
  return connection;
}
