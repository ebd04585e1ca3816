import { localTime, utcTime } from "@/lib/format";

/** It breaks between day and hour only. */
const unbroken = (text: string) => text.replace(/ /g, "\u00a0").replace(/,\u00a0(?=[^,]*$)/, ", ");

/** In the viewer's zone, with UTC on hover and for screen readers. */
export function Time({ at, precise = true }: { at: string | number | null | undefined; precise?: boolean }) {
  if (at === null || at === undefined) return <>–</>;
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return <>–</>;
  return (
    <time dateTime={date.toISOString()} title={utcTime(date)}>
      {unbroken(localTime(date, precise))}
    </time>
  );
}
