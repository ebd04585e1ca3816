import { afterAll, beforeAll, expect, test } from "vitest";

import { makeStage, takeShots, type Stage } from "./stage.mts";

let stage: Stage;
beforeAll(async () => {
  stage = await makeStage();
});
afterAll(() => stage.close());

test("figures, events as they happen, and a server that goes and comes back", async () => {
  const { page, wrong, close } = await stage.open("/system");
  /* The badge, not the route of that name in the table. */
  const ready = page.getByRole("main").locator("span").filter({ hasText: /^ready$/ });
  await ready.waitFor();
  await page.getByRole("status").filter({ hasText: "live" }).waitFor();
  await fetch(`${stage.base}/api/v1/predict`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ text: "$TSLA falls" }) });
  await page.getByRole("log").getByText("$TSLA falls").waitFor();
  const log = page.getByRole("region", { name: "The last lines of the log" });
  await log.getByRole("row").filter({ hasText: "POST /api/v1/predict" }).waitFor();
  await fetch(`${stage.base}/api/v1/nothing`);
  await page.getByLabel("Failures only").click();
  await log.getByRole("row").filter({ hasText: "GET /api/v1/nothing" }).waitFor();
  expect(await log.getByRole("row").filter({ hasText: "predict" }).count()).toBe(0);
  await stage.restart(async () => {
    await page.getByText(/can't be reached/).first().waitFor();
  });
  await ready.waitFor({ timeout: 20_000 });
  await page.getByRole("status").filter({ hasText: "live" }).waitFor({ timeout: 20_000 });
  expect(wrong).toEqual([]);
  await close();
});

test("looks", async () => {
  const said = await takeShots(stage, "/system", "system", async (page) => {
    await page.getByText("Requests by route").first().waitFor();
    await page.locator("canvas").nth(1).waitFor();
  });
  expect(said).toEqual([]);
});
