import { localTime, utcTime } from "@/lib/format";

/** In the viewer's zone, with UTC on hover and for screen readers. */
export function Time({ at, precise = true }: { at: string | number | null | undefined; precise?: boolean }) {
  if (at === null || at === undefined) return <>–</>;
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return <>–</>;
  return (
    <time dateTime={date.toISOString()} title={utcTime(date)}>
      {localTime(date, precise)}
    </time>
  );
}
