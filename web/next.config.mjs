import { PHASE_DEVELOPMENT_SERVER } from "next/constants.js";

/** The server that `npm run dev` talks to. */
const backend = process.env.FINCH_URL ?? "http://127.0.0.1:8000";
const proxied = ["/api/:path*", "/health", "/ready", "/metrics", "/openapi.json", "/docs", "/docs/:path*"];

/** Built: plain files, which `finch serve` hands out. In development: hot reload in front of a live server. */
export default function config(phase) {
  const common = { reactStrictMode: true, images: { unoptimized: true } };
  if (phase !== PHASE_DEVELOPMENT_SERVER) return { ...common, output: "export" };
  return {
    ...common,
    compress: false,
    rewrites: async () => proxied.map((source) => ({ source, destination: `${backend}${source}` })),
  };
}
