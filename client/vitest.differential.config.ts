import { defineConfig } from "vitest/config";

/** The comparison with the Rust client: needs its binary, and takes half a minute. */
export default defineConfig({
  test: { include: ["tests/differential/**/*.differential.ts"], testTimeout: 3_600_000, disableConsoleIntercept: true },
});
