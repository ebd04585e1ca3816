import type { ScaleOptionsByType } from "chart.js";

type TimeScale = ScaleOptionsByType<"linear">;

const minute = 60_000;
const day = 86_400_000;

function labelOf(time: number, span: number): string {
  const options: Intl.DateTimeFormatOptions =
    span < 10 * minute
      ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
      : span < 2 * day
        ? { hour: "2-digit", minute: "2-digit" }
        : span < 300 * day
          ? { month: "short", day: "numeric" }
          : { month: "short", year: "numeric" };
  return new Intl.DateTimeFormat(undefined, options).format(time);
}

/** A linear axis of Unix milliseconds, told in the viewer's zone. */
export function timeAxis(more: { min?: number; max?: number } = {}) {
  return {
    type: "linear" as const,
    ...more,
    grid: { display: false },
    ticks: {
      maxRotation: 0,
      autoSkipPadding: 16,
      maxTicksLimit: 8,
      callback: function (value) {
        return labelOf(Number(value), this.max - this.min);
      } as TimeScale["ticks"]["callback"],
    },
  };
}
