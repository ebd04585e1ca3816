import { join } from "node:path";

import { runFinch } from "./stage.mts";

/** A part of the sample's tweets, scored by the model that ships, as a history of 2014 to 2016. */
export async function fillHistory(state: string): Promise<void> {
  const [part, scored] = ["part.parquet", "scored.parquet"].map((name) => join(state, "..", name)) as [string, string];
  await runFinch(["sql", "SELECT * FROM 'data/sample/tweets.parquet' WHERE tweet_id % 25 = 0", "--output", part, "--quiet"]);
  await runFinch(["score", "--input", part, "--output", scored, "--quiet"]);
  await runFinch(["history", "import", "--input", scored, "--state", state, "--model", "finch-mini-5", "--quiet"]);
}
