import { createHash } from "node:crypto";
import { readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { PHASE_DEVELOPMENT_SERVER } from "next/constants.js";

/** The server that `npm run dev` talks to. */
const backend = process.env.FINCH_URL ?? "http://127.0.0.1:8000";
const proxied = ["/api/:path*", "/health", "/ready", "/metrics", "/openapi.json", "/docs", "/docs/:path*"];

/** What the pages are made of: each file that `next build` reads, but for packages, which the lock file stands for. */
const sources = ["app", "components", "lib", "next.config.mjs", "openapi.json", "package-lock.json", "package.json", "postcss.config.mjs", "scripts",
  "tailwind.config.ts", "tsconfig.json"];
const web = dirname(fileURLToPath(import.meta.url));

function filesOf(path) {
  return statSync(path).isDirectory() ? readdirSync(path).flatMap((name) => filesOf(join(path, name))) : [path];
}

/** A name that same sources share and others have not: Next.js would draw one, and no two builds would have the same bytes. It is part of
 * addresses that browsers keep for good. */
function sourcesName() {
  const hash = createHash("sha256");
  for (const path of sources.flatMap((name) => filesOf(join(web, name))).sort())
    hash.update(`${relative(web, path)}\0${createHash("sha256").update(readFileSync(path)).digest("hex")}\n`);
  return hash.digest("hex").slice(0, 20);
}

/** Webpack numbers modules by their path below this folder, but those which Next.js makes for a page's client parts have the whole
 * path, encoded, in their names: they get their numbers here, from names without it. */
const numbers = {
  apply(compiler) {
    const folders = [web, encodeURIComponent(web)];
    compiler.hooks.compilation.tap("Numbers", (compilation) => {
      compilation.hooks.moduleIds.tap({ name: "Numbers", stage: -100 }, () => {
        for (const module of compilation.modules) {
          const [, ...query] = module.identifier().split("?");
          if (!folders.some((folder) => query.join("?").includes(folder))) continue;
          const name = folders.reduce((text, folder) => text.replaceAll(folder, ""), module.identifier());
          compilation.chunkGraph.setModuleId(module, parseInt(createHash("sha256").update(name).digest("hex").slice(0, 8), 16));
        }
      });
    });
  },
};

/** The same bytes wherever the checkout lies. Files are named by what is in them: Next.js would name a page's by what was read to make it,
 * which has the whole path again. */
function samePlace(config) {
  if (typeof config.output.filename === "string") config.output.filename = config.output.filename.replace("[chunkhash]", "[contenthash]");
  config.optimization.realContentHash = true;
  config.plugins.push(numbers);
  return config;
}

/** Built: plain files, which `finch serve` hands out. In development: hot reload in front of a live server. */
export default function config(phase) {
  const common = { reactStrictMode: true, images: { unoptimized: true } };
  if (phase !== PHASE_DEVELOPMENT_SERVER) {
    return { ...common, output: "export", generateBuildId: sourcesName, webpack: samePlace };
  }
  return {
    ...common,
    compress: false,
    rewrites: async () => proxied.map((source) => ({ source, destination: `${backend}${source}` })),
  };
}
