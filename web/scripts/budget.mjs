/* After `next build`: the gzipped JavaScript that each page loads at first, which may be 200 kB at most. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const out = process.argv[2] ?? "out";
const most = 200_000;
const sizes = new Map();

function sizeOf(path) {
  if (!sizes.has(path)) sizes.set(path, gzipSync(readFileSync(join(out, path)), { level: 6 }).length);
  return sizes.get(path);
}

let over = 0;
for (const page of readdirSync(out).filter((name) => name.endsWith(".html"))) {
  const html = readFileSync(join(out, page), "utf8");
  const scripts = new Set([...html.matchAll(/<script([^>]*)\ssrc="([^"?]+)[^"]*"([^>]*)>/g)]
    .filter((m) => !/nomodule/i.test(m[1] + m[3])).map((m) => m[2]));
  const bytes = [...scripts].reduce((sum, path) => sum + sizeOf(path), 0);
  console.log(`${page.padEnd(16)} ${(bytes / 1000).toFixed(1).padStart(6)} kB of JavaScript, gzipped`);
  if (bytes > most) over++;
}
if (over > 0) console.error(`over the budget of ${most / 1000} kB`);
process.exit(over === 0 ? 0 : 1);
