"use client";

import * as Radix from "@radix-ui/react-progress";

import { cn } from "@/lib/cn";

/** value from 0 to 1; null: under way, nobody knows how far. */
export function Progress({ value, label, className }: { value: number | null; label: string; className?: string }) {
  const percent = value === null ? null : Math.round(Math.max(0, Math.min(1, value)) * 100);
  return (
    <Radix.Root value={percent} aria-label={label} className={cn("h-2 overflow-hidden rounded-full bg-raised", className)}>
      <Radix.Indicator
        className={cn("h-full rounded-full bg-accent transition-[width]", percent === null && "animate-pulse")}
        style={{ width: percent === null ? "100%" : `${percent}%` }}
      />
    </Radix.Root>
  );
}
