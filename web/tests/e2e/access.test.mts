import { afterAll, beforeAll, expect, test } from "vitest";

import { makeStage, runFinch, type Stage } from "./stage.mts";

let stage: Stage;
let key: string;
beforeAll(async () => {
  stage = await makeStage(async (state) => {
    const made: { key: string } = JSON.parse(await runFinch(["keys", "create", "--name", "viewer", "--scopes", "read,predict", "--state", state, "--json"]));
    key = made.key;
  }, ["--rate-limit", "60"]);
});
afterAll(() => stage.close());

test("without a key the sign-in opens; a wrong key is refused, a right one stays over a reload and is nowhere in the page", async () => {
  const { page, wrong, close } = await stage.open("/analyse");
  const dialog = page.getByRole("dialog", { name: "Sign in with an API key" });
  await dialog.getByLabel("API key").fill("finch_nonsense");
  await dialog.getByRole("button", { name: "Sign in" }).click();
  await dialog.getByRole("alert").waitFor();
  await dialog.getByLabel("API key").fill(key);
  await dialog.getByRole("button", { name: "Sign in" }).click();
  await dialog.waitFor({ state: "hidden" });
  await page.reload();
  await page.getByLabel("Text").fill("$AAPL up");
  await page.keyboard.press("Control+Enter");
  await page.getByRole("article").waitFor();
  expect(await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, document.documentElement.outerHTML]))).not.toContain(key);
  expect(wrong).toEqual([]);

  await page.goto(`${stage.base}/system`);
  for (const name of ["API keys", "Log"])
    await page.locator("section", { has: page.getByRole("heading", { name, exact: true }) }).getByText("Your key may not do this").waitFor();
  await close();
});

test("too many requests: told, counted down, and over by itself", async () => {
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  const { page, close } = await stage.open("/analyse");
  await page.getByRole("dialog").getByLabel("API key").fill(key);
  await page.getByRole("dialog").getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  await page.getByLabel("Text").fill("$AAPL up");
  /* The limit gives a request back each second: a slow machine may have one by the time the key is pressed. */
  do {
    let answers: number[];
    do answers = await Promise.all(Array.from({ length: 40 }, async () => (await fetch(`${stage.base}/api/v1/models`, { headers })).status));
    while (!answers.includes(429));
    await page.keyboard.press("Control+Enter");
    await page.getByText("Too many requests").or(page.getByRole("article")).first().waitFor();
  } while ((await page.getByText("Too many requests").count()) === 0);
  await page.getByRole("button", { name: "Try again" }).click({ timeout: 20_000 });
  await page.getByRole("article").waitFor();
  await close();
});
