import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

import { makeStage, runFinch, type Stage } from "./stage.mts";

const hours = 10_000;
let stage: Stage;

/** Registers a model with its evaluation and its predictions of the same texts as the others'. */
async function register(state: string, folder: string, name: string): Promise<void> {
  const [rows, texts, scored, evaluation] = ["rows.csv", "texts.csv", `${name}.jsonl`, `${name}.json`].map((file) => join(state, "..", file)) as [string, string, string, string];
  await runFinch(["sql", "SELECT text, label FROM 'data/fintweets5/valid.csv' LIMIT 200", "--output", rows, "--quiet"]);
  await runFinch(["sql", `SELECT text, label AS truth FROM '${rows}'`, "--output", texts, "--quiet"]);
  writeFileSync(evaluation, await runFinch(["eval", "--model", folder, "--data", rows, "--json", "--quiet"]));
  await runFinch(["score", "--model", folder, "--input", texts, "--text-column", "text", "--output", scored, "--quiet"]);
  await runFinch(["models", "register", folder, "--name", name, "--evaluation", evaluation, "--samples", scored, "--state", state, "--quiet"]);
}

/** A history of one text an hour. */
async function fillHours(state: string): Promise<void> {
  const table = join(state, "..", "hours.parquet");
  const columns = "'text ' || i AS body, TIMESTAMP '2014-01-01' + to_hours(i) AS post_date, 'AAPL' AS ticker_symbol, 'NEUTRAL' AS label, (i % 7 - 3) / 10.0 AS score";
  await runFinch(["sql", `SELECT i AS tweet_id, ${columns} FROM range(${hours}) t(i)`, "--output", table, "--quiet"]);
  await runFinch(["history", "import", "--input", table, "--state", state, "--model", "m", "--quiet"]);
}

beforeAll(async () => {
  stage = await makeStage(async (state) => {
    await register(state, "models/finch-mini-5", "mini");
    await register(state, "tests/fixtures/models/tiny-bert", "tiny");
    await fillHours(state);
  });
}, 120_000);
afterAll(() => stage.close());

test("two models side by side: intervals, reliability, confusion as CSV, texts they label differently", async () => {
  const { page, wrong, close } = await stage.open("/models?models=mini@1,tiny@1");
  await page.getByRole("heading", { name: "Reliability" }).waitFor();
  await page.getByRole("button", { name: "Reliability: show the table" }).click();
  const points = page.getByRole("region", { name: "Reliability" }).getByRole("row").filter({ hasText: "mini@1" });
  await points.first().waitFor();
  const texts = await points.evaluateAll((rows) => rows.reduce((sum, row) => sum + Number(row.lastElementChild?.textContent ?? 0), 0));
  expect(texts).toBe(200);
  await page.getByText("▼ worse").first().waitFor();
  const coming = page.waitForEvent("download");
  await page.getByRole("button", { name: "Confusion of mini@1: save as CSV" }).click();
  const lines = readFileSync(await (await coming).path(), "utf8").trim().split("\r\n");
  expect(lines[0]).toBe("true,STRONGLY_NEGATIVE,NEGATIVE,NEUTRAL,POSITIVE,STRONGLY_POSITIVE");
  expect(lines.slice(1).flatMap((line) => line.split(",").slice(1).map(Number)).reduce((a, b) => a + b, 0)).toBe(200);
  const picture = page.waitForEvent("download");
  await page.getByRole("button", { name: "Confusion of mini@1: save as PNG" }).click();
  expect(readFileSync(await (await picture).path()).subarray(1, 4).toString()).toBe("PNG");
  const differ = page.getByRole("region", { name: "Texts that the models label differently" });
  await differ.getByRole("row").nth(1).waitFor();
  await differ.getByRole("columnheader", { name: "True class" }).waitFor();
  expect(wrong).toEqual([]);
  await close();
});

test("ten thousand points are drawn, and scrolled through as a table of which few rows are in the document", async () => {
  const { page, wrong, close } = await stage.open("/?range=all&bucket=1h");
  await page.getByRole("button", { name: "Sentiment index of all texts: show the table" }).click({ timeout: 30_000 });
  const table = page.getByRole("region", { name: "Sentiment index of all texts" });
  await table.getByRole("row").nth(1).waitFor();
  expect(await table.getByRole("table").getAttribute("aria-rowcount")).toBe(String(hours + 1));
  expect(await table.getByRole("row").count()).toBeLessThan(60);
  await table.evaluate((region) => region.scrollTo(0, region.scrollHeight));
  await table.locator(`tr[aria-rowindex="${hours + 1}"]`).waitFor();
  expect(await table.getByRole("row").count()).toBeLessThan(60);
  expect(wrong).toEqual([]);
  await close();
});

test("on a slow line the page says what it waits for, and is whole in the end", async () => {
  const { page, wrong, close } = await stage.open("/health");
  const line = await page.context().newCDPSession(page);
  await line.send("Network.emulateNetworkConditions", { offline: false, latency: 300, downloadThroughput: 64 * 1024, uploadThroughput: 32 * 1024 });
  await page.goto(`${stage.base}/models?models=mini@1`, { waitUntil: "commit" });
  await page.getByRole("status").filter({ hasText: "being asked for" }).first().waitFor();
  await page.getByRole("table", { name: "Confusion matrix of mini@1" }).waitFor({ timeout: 40_000 });
  expect(await page.getByRole("alert").filter({ hasText: /\S/ }).count()).toBe(0);
  expect(wrong).toEqual([]);
  await close();
});
