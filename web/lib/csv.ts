/** CSV by RFC 4180: for exports, and for the preview of what people upload. */

export type Cell = string | number | boolean | null | undefined;

/** A cell that a spreadsheet would take for a formula gets an apostrophe before it; numbers stay numbers. */
function cell(value: Cell): string {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csvText(columns: string[], rows: Cell[][]): string {
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** Rows of a CSV text, at most `most`; a last row that is cut (the text is a file's beginning) is left out where `cut` says so. */
export function parseCsv(text: string, most = Number.MAX_SAFE_INTEGER, cut = false, separator = ","): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let value = "";
  let quoted = false;
  const endRow = () => {
    row.push(value);
    value = "";
    if (row.length > 1 || row[0] !== "") rows.push(row);
    row = [];
  };
  const body = text.startsWith("\uFEFF") ? text.slice(1) : text;
  for (let i = 0; i < body.length && rows.length < most; i++) {
    const c = body[i];
    if (quoted) {
      if (c !== '"') value += c;
      else if (body[i + 1] === '"') value += body[++i];
      else quoted = false;
    } else if (c === '"' && value === "") quoted = true;
    else if (c === separator) {
      row.push(value);
      value = "";
    } else if (c === "\n") endRow();
    else if (c !== "\r" || body[i + 1] !== "\n") value += c;
  }
  if (!cut && rows.length < most && (value !== "" || row.length > 0)) endRow();
  return rows;
}
