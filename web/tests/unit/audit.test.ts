// @vitest-environment node
/* scripts/audit.mjs against a registry that speaks npm's protocol for advisories in bulk: the real npm asks it about the real lock file. */
import { spawn } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";

const script = fileURLToPath(new URL("../../scripts/audit.mjs", import.meta.url));
let server: Server;

interface Advisory { id: number; url: string; title: string; severity: string; vulnerable_versions: string }

function advisory(ghsa: string, severity: string): Advisory {
  return { id: 1, url: `https://github.com/advisories/${ghsa}`, title: "a title", severity, vulnerable_versions: "<99.0.0" };
}

/* The packages that npm asked about. */
async function registry(answer: Record<string, Advisory[]> | null): Promise<string[]> {
  const asked: string[] = [];
  server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const bulk = request.method === "POST" && request.url === "/-/npm/v1/security/advisories/bulk";
      if (answer === null || !bulk) {
        response.writeHead(405).end();
        return;
      }
      const sent = Buffer.concat(parts);
      const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(sent) : sent;
      asked.push(...Object.keys(JSON.parse(body.toString()) as object));
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return asked;
}

function audit(...words: string[]): Promise<{ code: number | null; said: string }> {
  const at = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const child = spawn(process.execPath, [script, ...words], { env: { ...process.env, npm_config_registry: at, npm_config_fetch_retries: "0" } });
  let said = "";
  child.stdout.on("data", (text: Buffer) => (said += text.toString()));
  child.stderr.on("data", (text: Buffer) => (said += text.toString()));
  return new Promise((ended) => child.on("close", (code) => ended({ code, said })));
}

afterEach(() => { server.close(); });

test("an advisory that was judged is named with its reason", async () => {
  const asked = await registry({ next: [advisory("GHSA-q4gf-8mx6-v5v3", "high")] });
  const { code, said } = await audit();
  expect(said).toContain("accepted  high  next");
  expect(said).toContain("no Server Function");
  expect(code).toBe(0);
  expect(asked).toEqual(expect.arrayContaining(["next", "react", "chart.js", "vitest"]));
}, 60_000);

test("one that was not is an error, also critical and in another package", async () => {
  await registry({ "chart.js": [advisory("GHSA-0000-0000-0000", "critical")], zustand: [advisory("GHSA-1111-1111-1111", "moderate")] });
  const { code, said } = await audit();
  expect(said).toContain("NOT JUDGED  critical  chart.js");
  expect(said).not.toContain("GHSA-1111-1111-1111");
  expect(code).toBe(1);
}, 60_000);

test("a registry without the service is said, and refused for a release", async () => {
  await registry(null);
  const { code, said } = await audit();
  expect(said).toContain("not checked");
  expect(code).toBe(0);
  expect((await audit("--require")).code).toBe(2);
}, 60_000);
