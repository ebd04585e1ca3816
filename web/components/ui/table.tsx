"use client";

import { useVirtualizer } from "@tanstack/react-virtual";
import { useRef, type ReactNode } from "react";

import { cn } from "@/lib/cn";

export type Column<T> = { name: string; /** The name is for screen readers only. */ quiet?: boolean; numeric?: boolean; show: (row: T) => ReactNode; className?: string };

const rowHeight = 37;
const plainMost = 100;

/** A table with its name. More than a hundred rows are virtualised: only what can be seen is in the document. */
export function Table<T>({ name, columns, rows, keyOf, height = 420 }: { name: string; columns: Column<T>[]; rows: T[]; keyOf: (row: T, index: number) => string | number; height?: number }) {
  const scroller = useRef<HTMLDivElement>(null);
  const all = rows.length <= plainMost;
  const virtual = useVirtualizer({
    count: all ? 0 : rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: 12,
    initialRect: { width: 800, height },
  });
  const shown = all ? rows.map((_, index) => index) : virtual.getVirtualItems().map((item) => item.index);
  const items = virtual.getVirtualItems();
  const before = all ? 0 : (items[0]?.start ?? 0);
  const after = all ? 0 : virtual.getTotalSize() - (items[items.length - 1]?.end ?? 0);

  return (
    <div
      ref={scroller}
      tabIndex={0}
      role="region"
      aria-label={name}
      className="overflow-auto rounded-md border"
      style={{ maxHeight: height }}
    >
      <table className="w-full border-collapse text-sm" aria-rowcount={rows.length + 1}>
        <caption className="sr-only">{name}</caption>
        <thead className="sticky top-0 z-10 bg-raised">
          <tr>
            {columns.map((column) => (
              <th key={column.name} scope="col" className={cn("px-3 py-2 text-left font-medium", column.numeric && "text-right")}>
                {column.quiet ? <span className="sr-only">{column.name}</span> : column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {before > 0 && <tr aria-hidden style={{ height: before }} />}
          {shown.map((index) => {
            const row = rows[index] as T;
            return (
              <tr key={keyOf(row, index)} aria-rowindex={index + 2} className="border-t align-top">
                {columns.map((column) => (
                  <td key={column.name} className={cn("px-3 py-2", column.numeric && "text-right tabular-nums", !all && "max-w-[32rem] truncate", column.className)}>
                    {column.show(row)}
                  </td>
                ))}
              </tr>
            );
          })}
          {after > 0 && <tr aria-hidden style={{ height: after }} />}
        </tbody>
      </table>
    </div>
  );
}
