import { defineConfig } from "vitest/config";

/** The library: one module without dependencies. */
export default defineConfig({
  build: {
    target: "es2023",
    minify: "oxc",
    lib: { entry: "src/index.ts", formats: ["es"], fileName: "index" },
    // Else white space stays in a library.
    rolldownOptions: { output: { minify: true } },
  },
  test: { include: ["tests/**/*.test.ts"] },
});
