/** A real finch with a store of its own, a real browser, and what every page is held against. */
import axe from "axe-core";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";

export const root = resolve(import.meta.dirname, "../../..");
const program = process.env.FINCH ?? join(root, "build/finch");
const out = join(root, "web/out");
export const shots = join(root, "web/test-results");
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export type Finch = { address: string; stop: () => Promise<void> };

/** Runs finch to its end. */
export function runFinch(args: string[]): Promise<string> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
    child.on("close", (code) => (code === 0 ? done(text) : fail(new Error(`finch ${args.join(" ")} ended with ${code}`))));
  });
}

async function whenReady(address: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const answer = await fetch(`${address}/ready`).catch(() => null);
    if (answer?.ok) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`${address}/ready did not say yes`);
}

export function startFinch(state: string, port = 0, more: string[] = []): Promise<Finch> {
  const args = ["serve", "--port", String(port), "--state", state, "--access-log", "none", "--keep-predictions", "--web", out, ...more];
  const child: ChildProcess = spawn(program, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  const stop = () =>
    new Promise<void>((done) => {
      child.on("close", () => done());
      child.kill("SIGTERM");
    });
  return new Promise((done, fail) => {
    let said = "";
    const listen = (chunk: Buffer) => {
      said += chunk.toString();
      const address = /http:\/\/127\.0\.0\.1:\d+/.exec(said)?.[0];
      if (address !== undefined) whenReady(address).then(() => done({ address, stop }), fail);
    };
    child.stdout?.on("data", listen);
    child.stderr?.on("data", listen);
    child.on("close", () => fail(new Error(`finch serve ended: ${said}`)));
  });
}

export type Stage = {
  base: string;
  folder: string;
  state: string;
  finch: Finch;
  browser: Browser;
  /** A page of its own context; what the console says wrong and requests to elsewhere are kept. */
  open: (path: string, options?: BrowserContextOptions) => Promise<Watched>;
  restart: (pause: () => Promise<void>) => Promise<void>;
  close: () => Promise<void>;
};
export type Watched = { page: Page; wrong: string[]; close: () => Promise<void> };

export async function makeStage(prepare: (state: string) => Promise<void> = async () => {}, more: string[] = []): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), "finch-web-"));
  const state = join(folder, "state.sqlite");
  mkdirSync(shots, { recursive: true });
  await prepare(state);
  const finch = await startFinch(state, 0, more);
  const base = finch.address;
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: flags });
  const stage: Stage = {
    base,
    folder,
    state,
    finch,
    browser,
    open: async (path, options = {}) => {
      const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, permissions: ["clipboard-read", "clipboard-write"], ...options });
      const page = await context.newPage();
      page.setDefaultTimeout(15_000);
      const wrong: string[] = [];
      page.on("pageerror", (error) => wrong.push(error.message));
      page.on("console", (m) => m.type() === "error" && !/status of (4|5)\d\d|ERR_/.test(m.text()) && wrong.push(m.text()));
      page.on("request", (r) => !/^(data|blob):/.test(r.url()) && !r.url().startsWith(base) && wrong.push(`asks elsewhere: ${r.url()}`));
      await page.goto(base + path);
      return { page, wrong, close: () => context.close() };
    },
    restart: async (pause) => {
      const port = Number(new URL(stage.finch.address).port);
      await stage.finch.stop();
      await pause();
      stage.finch = await startFinch(state, port, more);
    },
    close: async () => {
      await browser.close();
      await stage.finch.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return stage;
}

/** What axe says against a page; run outside the page's policy, as a browser's extension would. */
export async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found = await page.evaluate(() =>
    (window as unknown as { axe: typeof axe }).axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
  );
  return found.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.target.join(" ")).join(" | ")}`);
}

/** In light, dark, on a phone and on a 4K screen, into web/test-results. */
export async function takeShots(stage: Stage, path: string, name: string, arrange: (page: Page) => Promise<void>): Promise<string[]> {
  const said: string[] = [];
  const looks: [string, BrowserContextOptions][] = [
    ["light", { colorScheme: "light" }],
    ["dark", { colorScheme: "dark" }],
    ["phone", { viewport: { width: 360, height: 740 } }],
    ["4k", { viewport: { width: 3840, height: 2160 } }],
  ];
  for (const [look, options] of looks) {
    const { page, wrong, close } = await stage.open(path, { reducedMotion: "reduce", ...options });
    await arrange(page);
    await page.screenshot({ path: join(shots, `${name}-${look}.png`), fullPage: true });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    if (wide > 0) said.push(`${look}: ${wide} px too wide`);
    said.push(...(await violations(page)).map((v) => `${look}: ${v}`), ...wrong);
    await close();
  }
  return said;
}
