import { spawn, type ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

import { makeStage, root, runFinch, takeShots, type Stage } from "./stage.mts";

const texts = 240;
let stage: Stage;
let provider: ChildProcess;
let url: string;

/** The provider's stand-in of tests/provider: it speaks the real protocol and labels by its own truth. */
function startProvider(): Promise<string> {
  const python = process.env.FINCH_PYTHON ?? join(root, ".venv/bin/python");
  const config = JSON.stringify({ latency_ms: 1000, style: "openrouter" });
  provider = spawn(python, ["tests/provider/standin.py", "--http1", "--config", config], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((done, fail) => {
    provider.stdout?.once("data", (said: Buffer) => done(`http://127.0.0.1:${(JSON.parse(said.toString()) as { port: number }).port}/v1`));
    provider.once("close", (code) => fail(new Error(`the stand-in ended with ${code}`)));
  });
}

function label(state: string): Promise<string> {
  const [input, output] = [join(state, "..", "texts.csv"), join(state, "..", "labels.csv")];
  writeFileSync(input, `id,text\n${Array.from({ length: texts }, (_, i) => `${i},"$AAPL number ${i}"`).join("\n")}\n`);
  return runFinch(["label", "--input", input, "--output", output, "--state", state, "--provider-url", url, "--model", "standin/five", "--batch", "10", "--in-flight", "2", "--quiet"]);
}

beforeAll(async () => {
  process.env.OPENAI_API_KEY = "sk-standin-0123456789";
  url = await startProvider();
  stage = await makeStage();
}, 120_000);
afterAll(async () => {
  await stage.close();
  provider.kill();
});

test("a job is watched while it runs, and its doubtful texts are reviewed by keys", async () => {
  const { page, wrong, close } = await stage.open("/labels");
  await page.getByText("There is no labelling job yet").waitFor();
  const running = label(stage.state);
  await page.waitForTimeout(1500);
  await page.reload();
  const jobs = page.getByRole("region", { name: "Labelling jobs" });
  await jobs.getByText("running").waitFor();
  await jobs.getByText(/texts\/s/).waitFor();
  await running;
  await jobs.getByText(`${texts} of ${texts} labelled`).waitFor({ timeout: 20_000 });
  await jobs.getByText("done").waitFor();
  await jobs.getByText(/^\$\d+\.\d{4}/).first().waitFor();
  await page.reload();
  await page.getByText(`0 labelled by api, ${texts} to go`).waitFor();
  const first = await page.locator("blockquote").innerText();
  await page.keyboard.press("4");
  await page.getByText("1 now").waitFor();
  expect(await page.locator("blockquote").innerText()).not.toBe(first);
  await page.keyboard.press("u");
  await page.getByText("0 now").waitFor();
  expect(await page.locator("blockquote").innerText()).toBe(first);
  expect(wrong).toEqual([]);
  await close();
});

test("looks of labels", async () => {
  const said = await takeShots(stage, "/labels", "labels", async (page) => {
    await page.getByRole("region", { name: "Labelling jobs" }).waitFor();
    await page.locator("blockquote").waitFor();
  });
  expect(said).toEqual([]);
});
