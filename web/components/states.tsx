"use client";

import { CircleAlert, Inbox, KeyRound, PlugZap, RotateCw, Timer } from "lucide-react";
import { useEffect, useState, type ReactNode } from "react";

import { Button } from "@/components/ui/button";
import { ApiError } from "@/lib/api/client";
import { cn } from "@/lib/cn";
import { fields, list, text } from "@/lib/read";
import { useAccess } from "@/lib/store";

/** While the first answer is awaited: about the shape of what comes. */
export function Loading({ label, className }: { label: string; className?: string }) {
  return (
    <div role="status" className={cn("animate-pulse rounded-md bg-raised", className ?? "h-40")}>
      <span className="sr-only">{label}</span>
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="flex flex-col items-center gap-2 px-4 py-10 text-center">
      <Inbox className="size-8 text-muted" aria-hidden />
      <p className="font-medium">{title}</p>
      {children && <div className="max-w-prose text-sm text-muted">{children}</div>}
    </div>
  );
}

type Story = { icon: ReactNode; title: string; advice: string };

/** What a failure means for the person who sees it. */
export function storyOf(error: Error): Story {
  const status = error instanceof ApiError ? error.status : -1;
  const code = error instanceof ApiError ? error.code : "";
  if (status === 0)
    return { icon: <PlugZap />, title: "The server can't be reached", advice: "It may be restarting. The page goes on by itself once it answers." };
  if (status === 401) return { icon: <KeyRound />, title: "An API key is needed", advice: "Sign in with a key; finch keys create makes one." };
  if (status === 403) return { icon: <KeyRound />, title: "Your key may not do this", advice: error.message };
  if (status === 404 && code !== "not_found" && code !== "no_such_model")
    return { icon: <CircleAlert />, title: "This server has no such data", advice: "It may be an older finch, or run without this part." };
  if (status === 429) return { icon: <Timer />, title: "Too many requests", advice: error.message };
  if (code === "no_store")
    return { icon: <CircleAlert />, title: "The server runs without a store", advice: "History, jobs, reviews and keys need one: start finch serve with --state." };
  if (status === 503) return { icon: <Timer />, title: "The server is busy", advice: error.message };
  return { icon: <CircleAlert />, title: "That did not work", advice: error.message };
}

/** Field errors, as the server lists them. */
function Details({ error }: { error: Error }) {
  const items = error instanceof ApiError ? list(error.details) : [];
  if (items.length === 0) return null;
  return (
    <ul className="list-inside list-disc">
      {items.slice(0, 5).map((item, index) => (
        <li key={index}>
          <code>{list(fields(item)["loc"]).join(".")}</code>: {text(item, "msg")}
        </li>
      ))}
    </ul>
  );
}

/** Seconds until `wait` is over, counted down. */
function useCountdown(wait: number | null): number {
  const [left, setLeft] = useState(wait ?? 0);
  useEffect(() => {
    setLeft(wait ?? 0);
    if (wait === null) return;
    const timer = setInterval(() => setLeft((s) => Math.max(0, s - 1)), 1000);
    return () => clearInterval(timer);
  }, [wait]);
  return left;
}

export function Failure({ error, onRetry, className }: { error: Error; onRetry?: () => void; className?: string }) {
  const story = storyOf(error);
  const wait = error instanceof ApiError ? error.retryAfter : null;
  const left = useCountdown(wait);
  const signIn = error instanceof ApiError && error.status === 401;
  return (
    <div role="alert" className={cn("flex flex-wrap items-start gap-3 rounded-md border border-danger/40 bg-danger/5 p-3 text-sm", className)}>
      <span className="mt-0.5 text-danger [&_svg]:size-5" aria-hidden>
        {story.icon}
      </span>
      <div className="min-w-0 flex-1 space-y-1">
        <p className="font-medium">{story.title}</p>
        <p className="break-words text-muted">{story.advice}</p>
        <Details error={error} />
        {error instanceof ApiError && error.requestId && <p className="text-xs text-muted">Request {error.requestId}</p>}
      </div>
      {signIn ? (
        <Button size="small" look="solid" onClick={() => useAccess.getState().set({ asked: true })}>
          <KeyRound /> Sign in
        </Button>
      ) : (
        onRetry && (
          <Button size="small" onClick={onRetry} disabled={left > 0}>
            <RotateCw /> {left > 0 ? `Again in ${left} s` : "Try again"}
          </Button>
        )
      )}
    </div>
  );
}

type Query<T> = { data: T | undefined; error: Error | null; isPending: boolean; refetch: () => unknown };

/** The four faces of what is asked for: loading, failed, stale with a failure, there. */
export function Loaded<T>({ query, label, skeleton, children }: { query: Query<T>; label: string; skeleton?: string; children: (data: T) => ReactNode }) {
  if (query.data !== undefined)
    return (
      <>
        {query.error && <Failure error={query.error} onRetry={() => query.refetch()} className="mb-3" />}
        {children(query.data)}
      </>
    );
  if (query.error) return <Failure error={query.error} onRetry={() => query.refetch()} />;
  return <Loading label={label} className={skeleton} />;
}
