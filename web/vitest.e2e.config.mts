import { defineConfig } from "vitest/config";

/** One browser at a time, against a finch of its own: the machine may be small. */
export default defineConfig({
  test: {
    environment: "node",
    include: ["tests/e2e/**/*.test.mts"],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
