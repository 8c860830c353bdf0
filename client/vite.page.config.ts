import { defineConfig, type Plugin } from "vite";

/** Text files end with a line break. */
const endOfLine: Plugin = {
  name: "end-of-line",
  generateBundle(_options, bundle) {
    for (const file of Object.values(bundle)) {
      if (file.type === "chunk") {
        file.code = `${file.code.trimEnd()}\n`;
      } else if (typeof file.source === "string") {
        file.source = `${file.source.trimEnd()}\n`;
      }
    }
  },
};

/** The page that the server embeds. Its files are committed, so that building the server needs no Node. */
export default defineConfig({
  root: "page",
  base: "/",
  publicDir: false,
  plugins: [endOfLine],
  build: {
    outDir: "../../src/server/page",
    emptyOutDir: true,
    target: ["es2022", "chrome107", "firefox104", "safari16.4"],
    sourcemap: false,
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: { entryFileNames: "assets/app.js", assetFileNames: "assets/app[extname]", codeSplitting: false },
    },
  },
});
