/** Prometheus' text format, as far as this page needs it: samples by name with their labels. */

export type Sample = { labels: Record<string, string>; value: number };

export function parseMetrics(text: string): Map<string, Sample[]> {
  const found = new Map<string, Sample[]>();
  for (const line of text.split("\n")) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/.exec(line);
    if (match === null) continue;
    const [, name = "", labelText = "", value = ""] = match;
    const labels: Record<string, string> = {};
    for (const [, key = "", quoted = ""] of labelText.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)) labels[key] = quoted.replace(/\\(.)/g, "$1");
    const number = value === "+Inf" ? Infinity : Number(value);
    if (Number.isNaN(number)) continue;
    found.set(name, [...(found.get(name) ?? []), { labels, value: number }]);
  }
  return found;
}
