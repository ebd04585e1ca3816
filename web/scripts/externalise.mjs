/* After `next build`: moves inline scripts of the pages into files, so that the server's Content-Security-Policy
 * (script-src 'self'; style-src 'self') holds as it is, without hashes. Neighbouring scripts become one file; their order stays.
 * Ends with an error where a page has an inline style or handler, which the policy would block. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const out = process.argv[2] ?? "out";
const folder = "_next/static/inline";
const inlineRun = /(?:<script(?:\s+id="[^"]*")?>[\s\S]*?<\/script>)+/g;

function pagesOf(at) {
  return readdirSync(at, { withFileTypes: true }).flatMap((entry) => {
    const path = join(at, entry.name);
    if (entry.isDirectory()) return pagesOf(path);
    return entry.name.endsWith(".html") ? [path] : [];
  });
}

function moveScripts(html) {
  return html.replace(inlineRun, (run) => {
    const code = [...run.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/g)].map((m) => m[1]).join(";\n");
    const name = `${createHash("sha256").update(code).digest("hex").slice(0, 16)}.js`;
    writeFileSync(join(out, folder, name), code);
    return `<script src="/${folder}/${name}"></script>`;
  });
}

function blocked(html) {
  const markup = html.replace(/<script[\s\S]*?<\/script>/g, "");
  const found = markup.match(/<style[\s>]|\sstyle="[^"]*"|\son[a-z]+="[^"]*"/);
  return found ? found[0] : null;
}

mkdirSync(join(out, folder), { recursive: true });
let wrong = 0;
for (const page of pagesOf(out)) {
  const html = moveScripts(readFileSync(page, "utf8"));
  const what = blocked(html);
  if (/<script(?![^>]*\ssrc=)/.test(html) || what !== null) {
    console.error(`${page}: the Content-Security-Policy would block ${what ?? "an inline script"}`);
    wrong++;
  }
  writeFileSync(page, html);
}
process.exit(wrong === 0 ? 0 : 1);
