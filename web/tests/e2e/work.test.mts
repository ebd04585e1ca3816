import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

import { makeStage, runFinch, takeShots, type Stage } from "./stage.mts";

let stage: Stage;
let report: string;
let table: string;
beforeAll(async () => {
  stage = await makeStage(async (state) => {
    await runFinch(["models", "register", "models/finch-mini-5", "--name", "tweets", "--note", "the first", "--state", state, "--quiet"]);
  });
  table = join(stage.folder, "texts.csv");
  const rows = Array.from({ length: 2_000 }, (_, i) => `${i},"$TSLA number ${i}, up or down?"`);
  writeFileSync(table, `id,body\n${rows.join("\n")}\n`);
  await runFinch(["prepare", "--input", "data/sample/tweets.parquet", "--output", join(stage.folder, "p.parquet"), "--quiet"]);
  report = join(stage.folder, "p.report.json");
}, 120_000);
afterAll(() => stage.close());

test("a table is sent, scored while the page is reloaded, and comes back", async () => {
  const { page, wrong, close } = await stage.open("/batches");
  await page.locator("input[type=file]").setInputFiles(table);
  expect(await page.getByLabel("Column of the texts").inputValue()).toBe("body");
  await page.getByRole("button", { name: "Score it" }).click();
  await page.getByRole("listitem").getByText("texts.csv").waitFor();
  await page.reload();
  await page.getByText("2,000 of 2,000 rows scored").waitFor({ timeout: 50_000 });
  const coming = page.waitForEvent("download");
  await page.getByRole("link", { name: "Result of texts.csv as csv" }).click();
  const lines = readFileSync(await (await coming).path(), "utf8").trim().split("\n");
  expect(lines).toHaveLength(2_001);
  expect(lines[0]).toContain("label");
  expect(wrong).toEqual([]);
  await close();
});

test("a version is promoted with a reason, and the record says so", async () => {
  const { page, wrong, close } = await stage.open("/models");
  await page.getByRole("button", { name: "Promote tweets@1" }).click();
  await page.getByLabel("Why").fill("better on GME");
  await page.getByRole("dialog").getByRole("button", { name: "Promote" }).click();
  await page.getByRole("region", { name: "Record of changes" }).getByText("better on GME").waitFor();
  await page.getByRole("table", { name: "Confusion matrix of tweets@1" }).waitFor();
  expect(wrong).toEqual([]);
  await close();
});

test("a report of finch prepare is read, another file is refused", async () => {
  const { page, wrong, close } = await stage.open("/data");
  await page.locator("input[type=file]").setInputFiles(table);
  await page.getByRole("alert").getByText("no JSON").waitFor();
  await page.locator("input[type=file]").setInputFiles(report);
  await page.getByText("10,000 rows read").waitFor();
  expect(wrong).toEqual([]);
  await close();
});

test.each(["batches", "models"])("looks of %s", async (name) => {
  expect(await takeShots(stage, `/${name}`, name, (page) => page.waitForTimeout(1200))).toEqual([]);
});

test("looks of data", async () => {
  const said = await takeShots(stage, "/data", "data", async (page) => {
    await page.locator("input[type=file]").setInputFiles(report);
    await page.locator("canvas").nth(4).waitFor();
  });
  expect(said).toEqual([]);
});
