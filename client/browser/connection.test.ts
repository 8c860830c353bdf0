/** Connections that break, servers that die, tabs that are closed. */

import type { Page } from "playwright-core";
import { expect } from "vitest";
import { agreed, countOf, edit, isKept, isLive, isSaved, keep, PATIENCE, scenario, textOf } from "./world.ts";

async function unsavedIn(page: Page): Promise<number> {
  return Number(await page.locator("#unsaved").getAttribute("data-count"));
}

scenario("what was typed offline arrives after a reload, once", async (world) => {
  const [a, b] = [await world.join("notes"), await world.join("notes")];
  await edit(a);
  await a.keyboard.type("online. ");
  await isSaved(a);
  // Only WebSockets are refused: the page can be loaded, as from a cache.
  world.network.set("http");
  await a.locator("#connection[data-state=offline]").waitFor({ timeout: PATIENCE });
  await a.keyboard.type("offline. ");
  expect(await unsavedIn(a)).toBeGreaterThan(0);
  await isKept(a, "offline. ");
  await keep(a, "offline");
  a.on("dialog", (dialog) => void dialog.accept());
  await a.reload();
  await a.locator("#connection").waitFor();
  world.network.set("open");
  await isSaved(a);
  await agreed(world, "notes", [a, b], (text) => text === "online. offline. ");
  await edit(b, "Control+End");
  await b.keyboard.type("back.");
  await agreed(world, "notes", [a, b], (text) => text === "online. offline. back.");
});

scenario("people who were apart find both texts when the network is back", async (world) => {
  const [a, b] = [await world.join("notes"), await world.join("notes")];
  await edit(a);
  await a.keyboard.type("shared ");
  await agreed(world, "notes", [a, b], (text) => text === "shared ");
  world.network.set("cut");
  await Promise.all(
    [a, b].map((page) => page.locator("#connection[data-state=offline]").waitFor({ timeout: PATIENCE })),
  );
  await edit(a, "Control+End");
  await a.keyboard.type("left");
  await edit(b, "Control+Home");
  await b.keyboard.type("right ");
  await edit(b, "Control+End", "Backspace");
  world.network.set("open");
  const text = await agreed(world, "notes", [a, b], (text) => text.includes("left") && text.includes("right"));
  expect(text).toBe("right sharedleft");
});

scenario("a connection that stalls loses nothing", async (world) => {
  const [a, b] = [await world.join("notes"), await world.join("notes")];
  world.network.set("stalled");
  await edit(a);
  await a.keyboard.type("into the void");
  expect(await unsavedIn(a)).toBeGreaterThan(0);
  expect(await textOf(b)).toBe("");
  world.network.set("open");
  await agreed(world, "notes", [a, b], (text) => text === "into the void");
});

scenario(
  "the server is killed while somebody types: what was shown as saved is there, the rest arrives",
  async (world) => {
    const page = await world.join("notes");
    await page.evaluate(() => {
      const client = window.collab?.client;
      client?.on("pending", ({ unsaved }) => {
        if (unsaved === 0) {
          document.body.dataset.promised = client.text;
        }
      });
    });
    await edit(page);
    let typed = "";
    for (let round = 0; round < 4; round += 1) {
      const [before, after] = [`round ${round}, with the server. `, `round ${round}, without it. `];
      const typing = page.keyboard.type(before + after);
      await page.waitForFunction((text) => window.collab?.client.text.includes(text), before.slice(0, 12));
      await world.server.kill();
      await typing;
      typed += before + after;
      // Nobody reaches the new server yet, so it holds what the old one left.
      world.network.set("cut");
      await world.server.restart();
      const promised = (await page.locator("body").getAttribute("data-promised")) ?? "";
      expect((await world.server.text("notes")) ?? "").toContain(promised);
      expect(await textOf(page)).toBe(typed);
      world.network.set("open");
      await isSaved(page);
      await agreed(world, "notes", [page], (text) => text === typed);
    }
  },
);

scenario("another tab of the browser takes over what a closed one left unsaved", async (world) => {
  const person = await world.person();
  const a = await world.open(person, "notes");
  await edit(a);
  await a.keyboard.type("saved ");
  await isSaved(a);
  world.network.set("http");
  await a.locator("#connection[data-state=offline]").waitFor({ timeout: PATIENCE });
  await a.keyboard.type("unsaved");
  await isKept(a, "unsaved");
  await a.close();
  const b = await person.newPage();
  await b.goto(`${world.origin}/d/notes`);
  world.network.set("open");
  await isSaved(b);
  await agreed(world, "notes", [b], (text) => text === "saved unsaved");
  const c = await world.join("notes");
  await agreed(world, "notes", [b, c], (text) => text === "saved unsaved");
});

scenario("a tab that is open takes over from one that is closed later", async (world) => {
  const person = await world.person();
  const [a, b] = [await world.open(person, "notes"), await world.open(person, "notes")];
  world.network.set("http");
  await Promise.all(
    [a, b].map((page) => page.locator("#connection[data-state=offline]").waitFor({ timeout: PATIENCE })),
  );
  await edit(a);
  await a.keyboard.type("from the tab that goes");
  await isKept(a, "from the tab that goes");
  await a.close();
  world.network.set("open");
  await agreed(world, "notes", [b], (text) => text === "from the tab that goes");
});

scenario("a duplicated tab is somebody else, and both can type", async (world) => {
  const person = await world.person();
  const a = await world.open(person, "notes");
  await edit(a);
  await a.keyboard.type("a");
  const opened = person.waitForEvent("page");
  await a.evaluate(() => window.open(location.href));
  const b = await opened;
  await isLive(b);
  const names = await Promise.all([a, b].map((page) => page.locator("#me").getAttribute("data-client")));
  expect(names[0]).toBeTruthy();
  expect(names[1]).toBeTruthy();
  expect(names[0]).not.toBe(names[1]);
  await edit(b, "Control+End");
  await Promise.all([a.keyboard.type("xxxxxxxxxx"), b.keyboard.type("yyyyyyyyyy")]);
  const text = await agreed(world, "notes", [a, b], (text) => text.length === 21);
  expect([countOf(text, "x"), countOf(text, "y")]).toEqual([10, 10]);
});

scenario("leaving is only warned of while something is unsaved", async (world) => {
  const [a, b] = [await world.join("notes"), await world.join("notes")];
  await edit(a);
  await a.keyboard.type("saved");
  await isSaved(a);
  const closed = a.waitForEvent("close");
  await a.close({ runBeforeUnload: true });
  await closed;

  world.network.set("cut");
  await b.locator("#connection[data-state=offline]").waitFor({ timeout: PATIENCE });
  await edit(b);
  await b.keyboard.type("unsaved");
  const warned = b.waitForEvent("dialog");
  await b.close({ runBeforeUnload: true });
  const dialog = await warned;
  expect(dialog.type()).toBe("beforeunload");
  await dialog.dismiss();
  expect(await textOf(b)).toContain("unsaved");
});
