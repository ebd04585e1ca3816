/** Stands in front of a finch that does not hand out the dashboard by itself: static files with the server's own policy, all else
 * passed on. One origin, as people have it. */
import { createReadStream, existsSync } from "node:fs";
import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { extname, join, normalize } from "node:path";

const types: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".woff2": "font/woff2",
};

export const policy =
  "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
  "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const ofTheServer = /^\/(api|health|ready|metrics|openapi\.json|docs|predict|info)(\/|$|\?)/;

function fileOf(root: string, path: string): string | null {
  const clean = normalize(decodeURIComponent(path));
  const candidates = [join(root, clean), join(root, `${clean === "/" ? "index" : clean}.html`)];
  return candidates.find((file) => file.startsWith(root) && extname(file) !== "" && existsSync(file)) ?? null;
}

function passOn(backend: string, from: IncomingMessage, to: ServerResponse): void {
  const { hostname, port } = new URL(backend);
  const asked = request({ hostname, port, path: from.url, method: from.method, headers: from.headers }, (answer) => {
    to.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(to);
  });
  asked.on("error", () => to.destroy());
  to.on("close", () => asked.destroy());
  from.pipe(asked);
}

export function gateway(root: string, backend: string): Promise<Server> {
  const server = createServer((from, to) => {
    if (from.method !== "GET" || ofTheServer.test(from.url ?? "/")) return passOn(backend, from, to);
    const file = fileOf(root, (from.url ?? "/").split("?")[0] ?? "/");
    to.writeHead(file === null ? 404 : 200, {
      "Content-Type": types[extname(file ?? ".html")] ?? "application/octet-stream",
      "Content-Security-Policy": policy,
    });
    if (file === null) to.end();
    else createReadStream(file).pipe(to);
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}
