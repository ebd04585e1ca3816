import { afterAll, beforeAll, expect, test } from "vitest";

import { makeStage, takeShots, type Stage } from "./stage.mts";

let stage: Stage;
beforeAll(async () => {
  stage = await makeStage();
});
afterAll(() => stage.close());

test("a text becomes label, bars, words and snippets; the session survives a reload", async () => {
  const { page, wrong, close } = await stage.open("/analyse");
  await page.getByLabel("Text").fill("$AAPL \u{1F680} great quarter, it's a beat");
  await page.keyboard.press("Control+Enter");
  await page.getByRole("article").getByRole("heading", { name: /ositive/ }).waitFor();
  expect(await page.getByRole("article").getByText("%").count()).toBe(5);
  await page.getByRole("button", { name: "curl" }).click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toContain(`${stage.base}/api/v1/predict`);
  await page.getByRole("button", { name: "JSON" }).click();
  const copied = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
  expect(copied[0].explanation.words.length).toBeGreaterThan(3);
  await page.reload();
  await page.getByRole("button", { name: /great quarter/ }).click();
  await page.getByRole("article").waitFor();
  expect(wrong).toEqual([]);
  await close();
});

test("looks", async () => {
  const said = await takeShots(stage, "/analyse", "analyse", async (page) => {
    await page.getByRole("button", { name: /disaster/ }).click();
    await page.getByRole("article").waitFor();
    await page.getByText("Weights as a table").click();
  });
  expect(said).toEqual([]);
});
