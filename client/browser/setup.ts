/** One Chromium for the whole run. Workers connect to it, and every test has contexts of its own in it. */

import { access, constants } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** The address of the browser. */
    readonly browser: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const browser = await chromium.launchServer({
    executablePath: await executable(),
    // Root, as in a container, has no sandbox to give; a page that is tested here is our own.
    chromiumSandbox: process.getuid?.() !== 0,
  });
  project.provide("browser", browser.wsEndpoint());
  return () => browser.close();
}

/** What `CHROMIUM` names, else the first of the usual names that is there. */
async function executable(): Promise<string> {
  const names = process.env.CHROMIUM ? [process.env.CHROMIUM] : ["chromium", "chromium-browser", "google-chrome"];
  const directories = (process.env.PATH ?? "").split(delimiter);
  for (const path of names.flatMap((name) => (name.includes("/") ? [name] : directories.map((at) => join(at, name))))) {
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // The next one.
    }
  }
  throw new Error(`none of ${names.join(", ")} is there: install Chromium, or name its program by CHROMIUM`);
}
