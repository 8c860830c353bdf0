import { defineConfig } from "vitest/config";

/** Browser tests: the built server and a Chromium, see docs/testing.md. */
export default defineConfig({
  test: {
    include: ["browser/**/*.test.ts"],
    globalSetup: "browser/setup.ts",
    // What is expected comes within a second or two; a machine that is busy is no failure.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Each worker has a browser, and a machine that checks everything at once has two processors.
    maxWorkers: 2,
  },
});
