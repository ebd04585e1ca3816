import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

import { fillHistory } from "./history.mts";
import { makeStage, shots, takeShots, type Stage } from "./stage.mts";

let stage: Stage;
beforeAll(async () => {
  stage = await makeStage(fillHistory);
}, 180_000);
afterAll(() => stage.close());

test("index, texts behind a point, exports, leaders, and an address that brings it all back", async () => {
  const { page, wrong, close } = await stage.open("/?range=all");
  await page.getByRole("heading", { name: "Sentiment index of all texts" }).waitFor();
  await page.getByLabel("Ticker").fill("$aapl");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "$AAPL: sentiment index" }).waitFor();
  await page.getByRole("heading", { name: "$AAPL: price beside sentiment" }).waitFor();
  await page.getByRole("button", { name: "$AAPL: sentiment index: show the table" }).click();
  const table = page.getByRole("region", { name: "$AAPL: sentiment index" });
  await table.getByRole("button").first().click();
  const texts = page.getByRole("region", { name: "Texts behind the point" });
  await texts.getByRole("row").nth(1).waitFor();
  const rows = await texts.getByRole("row").count();
  const coming = page.waitForEvent("download");
  await page.getByRole("button", { name: "$AAPL: sentiment index: save as CSV" }).click();
  const csv = readFileSync(await (await coming).path(), "utf8").trim().split("\r\n");
  expect(csv[0]).toBe("start,count,mean,low,high,strongly_negative,strongly_positive,left_out");
  expect(csv.length).toBeGreaterThan(5);
  await page.reload();
  await page.getByRole("heading", { name: "$AAPL: sentiment index" }).waitFor();
  await texts.getByRole("row").nth(1).waitFor();
  expect(await texts.getByRole("row").count()).toBe(rows);
  await page.getByRole("region", { name: "Most bearish" }).getByRole("button").first().click();
  expect(new URL(page.url()).searchParams.get("ticker")).not.toBe("AAPL");
  expect(wrong).toEqual([]);
  await close();
});

test("fifty events a second are counted to the last one and the page keeps painting", async () => {
  const { page, wrong, close } = await stage.open("/");
  await page.getByRole("status").filter({ hasText: "live" }).waitFor();
  await page.evaluate(() => {
    const w = window as unknown as { frames: number };
    w.frames = 0;
    const tick = () => {
      w.frames++;
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  const sent = 200;
  for (let i = 0; i < sent; i += 50) {
    const texts = Array.from({ length: 50 }, (_, k) => `$AAPL text number ${i + k}`);
    await fetch(`${stage.base}/api/v1/predict`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ texts }) });
    await page.waitForTimeout(1000);
  }
  await page.getByText(`${sent} new`).waitFor();
  expect(await page.evaluate(() => (window as unknown as { frames: number }).frames)).toBeGreaterThan(20);
  expect(wrong).toEqual([]);
  await close();
});

test("the page takes input soon after it was opened; how soon is kept beside the pictures", async () => {
  const taken: number[] = [];
  for (let round = 0; round < 5; round++) {
    const { page, close } = await stage.open("/health");
    await page.goto(stage.base, { waitUntil: "commit" });
    await page.getByLabel("Ticker").fill("$aapl");
    taken.push(await page.evaluate(() => performance.now()));
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "$AAPL: sentiment index" }).waitFor();
    await close();
  }
  const median = taken.sort((a, b) => a - b)[2];
  writeFileSync(join(shots, "interactive.json"), JSON.stringify({ interactive_ms: median }));
});

test("looks", async () => {
  const said = await takeShots(stage, "/?ticker=AAPL&range=all", "market", async (page) => {
    await page.locator("canvas").nth(2).waitFor();
    await page.getByRole("region", { name: "Most bearish" }).waitFor();
    await page.waitForTimeout(500);
  });
  expect(said).toEqual([]);
});
