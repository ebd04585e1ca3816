/** Reading of values whose shape the contract leaves open ("object"): what is not there is undefined, never a crash. */

export type Fields = Record<string, unknown>;

export function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The value at a path of names: at(system, "queue", "texts"). */
export function at(value: unknown, ...path: (string | number)[]): unknown {
  return path.reduce<unknown>(
    (v, key) => (typeof key === "number" ? list(v)[key] : fields(v)[key]),
    value,
  );
}

export function number(value: unknown, ...path: (string | number)[]): number | undefined {
  const v = at(value, ...path);
  return typeof v === "number" && Number.isFinite(v) ? v : undefined;
}

export function text(value: unknown, ...path: (string | number)[]): string | undefined {
  const v = at(value, ...path);
  return typeof v === "string" ? v : undefined;
}

export function flag(value: unknown, ...path: (string | number)[]): boolean {
  return at(value, ...path) === true;
}
