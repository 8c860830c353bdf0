import { defineConfig } from "vitest/config";

/** The library: one module without dependencies. */
export default defineConfig({
  build: {
    target: "es2023",
    // Two in a row: what the one leaves the other finds.
    minify: "terser",
    terserOptions: { module: true, compress: { passes: 3 } },
    lib: { entry: "src/index.ts", formats: ["es"], fileName: "index" },
    // Else white space and notes for bundlers stay in a library.
    rolldownOptions: { output: { minify: true, comments: false } },
  },
  // A property test on a busy machine takes longer than the five seconds that are the default; none hangs.
  test: { include: ["tests/**/*.test.ts"], testTimeout: 60_000 },
});
