/** What a scenario is played in: a server, the network in front of it, and people with browsers. */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { expect, inject, test } from "vitest";
import { FaultyNetwork } from "./network.ts";
import { Server } from "./server.ts";

/** Milliseconds for what is expected to become so, on however busy a machine. */
export const PATIENCE = 20_000;

const SCREENSHOTS = join(import.meta.dirname, "screenshots");

/** One test, in a world of its own. Whatever its claim, no page may have broken the policy, thrown or opened a dialog. */
export function scenario(claim: string, play: (world: World) => Promise<void>): void {
  test(claim, async () => {
    const world = await World.start();
    try {
      await play(world);
      expect(world.faults, "what no page may do").toEqual([]);
    } catch (error) {
      await world.report(claim);
      throw error;
    } finally {
      await world.stop();
    }
  });
}

/** See the head of this file. */
export class World {
  readonly server: Server;
  readonly network: FaultyNetwork;
  /** Violations of the policy, errors that nobody caught, dialogs: in any page of this world. */
  readonly faults: string[] = [];
  readonly #browser: Browser;
  readonly #contexts: BrowserContext[] = [];

  private constructor(server: Server, network: FaultyNetwork, browser: Browser) {
    this.server = server;
    this.network = network;
    this.#browser = browser;
  }

  static async start(): Promise<World> {
    const server = await Server.start();
    const network = await FaultyNetwork.start(() => server.port);
    return new World(server, network, await chromium.connect(inject("browser")));
  }

  /** Where pages are opened. */
  get origin(): string {
    return `http://127.0.0.1:${this.network.port}`;
  }

  /** Somebody with a browser profile of their own. */
  async person(options: BrowserContextOptions = {}): Promise<BrowserContext> {
    const context = await this.#browser.newContext({ viewport: { width: 1000, height: 700 }, ...options });
    this.#contexts.push(context);
    await context.exposeBinding("reportViolation", (_source, text: string) => this.faults.push(`policy: ${text}`));
    await context.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (event) => {
        const { reportViolation } = window as unknown as { reportViolation: (text: string) => void };
        reportViolation(`${event.violatedDirective} by ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
      });
    });
    context.on("weberror", (error) => this.faults.push(`uncaught: ${String(error.error().stack)}`));
    context.on("dialog", (dialog) => {
      // Who provokes a warning before the page is left takes it themselves.
      if (dialog.type() !== "beforeunload") {
        this.faults.push(`dialog: ${dialog.message()}`);
        void dialog.dismiss();
      }
    });
    return context;
  }

  /** A page of this person's that shows a document and is connected. */
  async open(person: BrowserContext, doc: string): Promise<Page> {
    const page = await person.newPage();
    await page.goto(`${this.origin}/d/${doc}`);
    await isLive(page);
    return page;
  }

  /** Somebody new who has the document open. */
  async join(doc: string): Promise<Page> {
    return this.open(await this.person(), doc);
  }

  /** Saves pictures of every page and prints what the server said last. */
  async report(claim: string): Promise<void> {
    const name = claim.replaceAll(/[^a-z0-9]+/gi, "-").slice(0, 60);
    const pages = this.#contexts.flatMap((context) => context.pages());
    for (const [index, page] of pages.entries()) {
      await keep(page, `failed-${name}-${index + 1}`).catch((error: unknown) => console.error(String(error)));
    }
    console.error(
      `${claim}\n--- faults:\n${this.faults.join("\n")}\n--- the server's log:\n${this.server.log.join("\n")}`,
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.#contexts.map((context) => context.close()));
    await this.#browser.close();
    await this.network.stop();
    await this.server.stop();
  }
}

/** Keeps a picture of a page, for people to look at. */
export async function keep(page: Page, name: string): Promise<void> {
  await mkdir(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
}

/** Waits until the page says that it is connected. */
export async function isLive(page: Page): Promise<void> {
  await page.locator("#connection[data-state=live]").waitFor({ timeout: PATIENCE });
}

/** Waits until the page says that everything is saved. */
export async function isSaved(page: Page): Promise<void> {
  await isLive(page);
  await page.locator('#unsaved[data-count="0"]').waitFor({ state: "attached", timeout: PATIENCE });
}

/** The editor, with the cursor in it. */
export async function edit(page: Page, ...keys: string[]): Promise<void> {
  await page.locator(".cm-content").focus();
  for (const key of keys) {
    await page.keyboard.press(key);
  }
}

/** The client's text. */
export async function textOf(page: Page): Promise<string> {
  return page.evaluate(() => {
    if (window.collab === undefined) {
      throw new Error("no document is open");
    }
    return window.collab.client.text;
  });
}

/** The editor's text. */
export async function shownIn(page: Page): Promise<string> {
  return page.evaluate(() => {
    if (window.collab === undefined) {
      throw new Error("no document is open");
    }
    return window.collab.view.state.doc.toString();
  });
}

/** Waits until the browser has stored what the page inserted and the server has not answered: until `text` is in it. */
export async function isKept(page: Page, text: string): Promise<void> {
  const stored = (): Promise<string> =>
    page.evaluate(async () => {
      const done = <T>(request: IDBRequest<T>): Promise<T> =>
        new Promise((resolve, reject) => {
          request.onsuccess = () => resolve(request.result);
          request.onerror = () => reject(request.error);
        });
      let inserted = "";
      for (const { name } of await indexedDB.databases()) {
        const database = await done(indexedDB.open(name ?? ""));
        for (const store of database.objectStoreNames) {
          const records: unknown = await done(database.transaction(store).objectStore(store).getAll());
          for (const [, value] of JSON.stringify(records).matchAll(/"value":"([^"]*)"/g)) {
            inserted += value;
          }
        }
        database.close();
      }
      return inserted;
    });
  await expect.poll(stored, { timeout: PATIENCE }).toContain(text);
}

/** Waits until everybody's replica and editor have a text of which `holds` is true, the same everywhere; answers it. */
export async function agreed(
  world: World,
  doc: string,
  pages: readonly Page[],
  holds: (text: string) => boolean,
): Promise<string> {
  const texts = async (): Promise<readonly (string | undefined)[]> => [
    await world.server.text(doc),
    ...(await Promise.all(pages.flatMap((page) => [textOf(page), shownIn(page)]))),
  ];
  await expect
    .poll(
      async () => {
        const [first, ...others] = await texts();
        const isSame = others.every((text) => text === first);
        return isSame && first !== undefined && holds(first)
          ? "agreed"
          : JSON.stringify([first, ...others]).slice(0, 2000);
      },
      { timeout: PATIENCE },
    )
    .toBe("agreed");
  return (await texts())[0] ?? "";
}

/** How often `part` is in `text`. */
export function countOf(text: string, part: string): number {
  return text.split(part).length - 1;
}
