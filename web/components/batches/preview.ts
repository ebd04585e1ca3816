import { parseCsv } from "@/lib/csv";

/** The beginning of a table, as far as a browser can read it: Parquet and packed files are left to the server. */
export type Preview = { columns: string[]; rows: string[][] };

const headBytes = 256 * 1024;
const rowsShown = 5;

function fromJsonLines(text: string): Preview {
  const objects = text
    .split("\n")
    .slice(0, rowsShown + 1)
    .flatMap((line): Record<string, unknown>[] => {
      try {
        const value: unknown = JSON.parse(line);
        return typeof value === "object" && value !== null && !Array.isArray(value) ? [value as Record<string, unknown>] : [];
      } catch {
        return []; /* the last line is cut, or it is none */
      }
    })
    .slice(0, rowsShown);
  const columns = [...new Set(objects.flatMap((o) => Object.keys(o)))];
  const shown = (value: unknown) => (value === undefined || value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));
  return { columns, rows: objects.map((o) => columns.map((c) => shown(o[c]))) };
}

export async function previewOf(file: File): Promise<Preview | null> {
  const text = await file.slice(0, headBytes).text();
  if (/\.jsonl$/i.test(file.name)) return fromJsonLines(text);
  const separator = /\.tsv$/i.test(file.name) ? "\t" : /\.csv$/i.test(file.name) ? (text.split("\n")[0]?.includes(";") && !text.split("\n")[0]?.includes(",") ? ";" : ",") : null;
  if (separator === null) return null;
  const [columns = [], ...rows] = parseCsv(text, rowsShown + 1, file.size > headBytes, separator);
  return { columns, rows };
}

/** The column that most likely holds the texts. */
export function textColumnOf(preview: Preview): string {
  const known = ["body", "text", "full_text", "tweet", "content", "message", "sentence"];
  const named = known.find((name) => preview.columns.includes(name));
  if (named !== undefined) return named;
  const lengths = preview.columns.map((_, i) => preview.rows.reduce((sum, row) => sum + (row[i]?.length ?? 0), 0));
  return preview.columns[lengths.indexOf(Math.max(...lengths))] ?? "";
}
