/** Numbers and times as people read them; undefined and null are a dash. */

type Maybe = number | null | undefined;
const none = "–";

function shown(value: Maybe, show: (v: number) => string): string {
  return value === null || value === undefined || !Number.isFinite(value) ? none : show(value);
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (value: Maybe) => shown(value, (v) => whole.format(v));
export const short = (value: Maybe) => shown(value, (v) => compact.format(v));
export const fixed = (value: Maybe, digits = 2) => shown(value, (v) => v.toFixed(digits));
export const signed = (value: Maybe, digits = 2) =>
  shown(value, (v) => (v > 0 ? "+" : v < 0 ? "−" : "") + Math.abs(v).toFixed(digits));
export const percent = (value: Maybe, digits = 1) => shown(value, (v) => `${(v * 100).toFixed(digits)} %`);

export function bytes(value: Maybe): string {
  return shown(value, (v) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let at = 0;
    for (; v >= 1024 && at < units.length - 1; at++) v /= 1024;
    return `${v.toFixed(at === 0 || v >= 100 ? 0 : 1)} ${units[at]}`;
  });
}

export function duration(seconds: Maybe): string {
  return shown(seconds, (s) => {
    if (s < 1) return `${Math.round(s * 1000)} ms`;
    if (s < 60) return `${s.toFixed(s < 10 ? 1 : 0)} s`;
    const minutes = Math.floor(s / 60);
    if (minutes < 60) return `${minutes} min ${Math.floor(s % 60)} s`;
    const hours = Math.floor(minutes / 60);
    return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
  });
}

export function localTime(iso: string | number | Date, precise = true): string {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return none;
  return new Intl.DateTimeFormat(undefined, {
    dateStyle: "medium",
    ...(precise ? { timeStyle: "short" } : {}),
  }).format(date);
}

export function utcTime(iso: string | number | Date): string {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? none : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}
