/** The page as people meet it: by keyboard, by ear, on a phone. */

import type { Page } from "playwright-core";
import { expect } from "vitest";
import { edit, isLive, isSaved, keep, PATIENCE, scenario, textOf } from "./world.ts";

/** The ids of what Tab reaches, in order, until it comes back to the first or leaves the page. */
async function tabStops(page: Page): Promise<readonly string[]> {
  const stops: string[] = [];
  for (let presses = 0; presses < 30; presses += 1) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const active = document.activeElement;
      return active === null || active === document.body ? "" : active.id || active.className;
    });
    if (stop !== "" && stops.includes(stop)) {
      break;
    }
    stops.push(stop);
  }
  return stops;
}

scenario("a document is begun, left and found again", async (world) => {
  const page = await (await world.person()).newPage();
  await page.goto(`${world.origin}/`);
  await keep(page, "home");
  await page.locator("#name").fill("my-plans");
  await page.keyboard.press("Enter");
  await isLive(page);
  expect(new URL(page.url()).pathname).toBe("/d/my-plans");
  await edit(page);
  await page.keyboard.type("to do");
  await isSaved(page);
  await page.goto(`${world.origin}/`);
  await page.locator("#recent a", { hasText: "my-plans" }).click();
  await isLive(page);
  await expect.poll(() => textOf(page), { timeout: PATIENCE }).toBe("to do");

  await page.goto(`${world.origin}/`);
  await page.locator("#new button").click();
  await isLive(page);
  expect(new URL(page.url()).pathname).toMatch(/^\/d\/[\w-]{8,}$/);
  await page.goto(`${world.origin}/`);
  await page.locator("#recent li", { hasText: "my-plans" }).getByRole("button").click();
  await expect.poll(() => page.locator("#recent").textContent()).not.toContain("my-plans");
});

scenario("everything can be reached by keyboard alone", async (world) => {
  const page = await world.join("notes");
  await page.keyboard.type("typed at once");
  expect(await textOf(page)).toBe("typed at once");
  const stops = await tabStops(page);
  for (const id of ["share", "download", "messages-toggle"]) {
    expect(stops).toContain(id);
  }
  expect(stops.some((stop) => stop.includes("cm-content"))).toBe(true);
  await page.locator("#messages-toggle").focus();
  await page.keyboard.press("Enter");
  expect(await page.locator("#messages-toggle").getAttribute("aria-expanded")).toBe("true");
  await page.locator("#messages .message").first().waitFor();
  await page.keyboard.press("Escape");
  expect(await page.locator("#messages-toggle").getAttribute("aria-expanded")).toBe("false");
});

scenario("a telephone shows everything without scrolling sideways", async (world) => {
  const person = await world.person({ viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true });
  const page = await person.newPage();
  const overflow = (): Promise<number> =>
    page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await page.goto(`${world.origin}/`);
  await page.locator("#new").waitFor();
  expect(await overflow()).toBe(0);
  await page.goto(`${world.origin}/d/${"a-name-as-long-as-it-may-be-".repeat(5).slice(0, 128)}`);
  await isLive(page);
  await edit(page);
  await page.keyboard.insertText(`${"long ".repeat(60)}\n${"x".repeat(300)}`);
  await isSaved(page);
  expect(await overflow()).toBe(0);
  await keep(page, "phone");
  await page.locator("#messages-toggle").click();
  await page.locator("#messages .message").first().waitFor();
  expect(await overflow()).toBe(0);
  await keep(page, "phone-messages");
  for (const id of ["share", "download", "messages-toggle", "connection"]) {
    const box = await page.locator(`#${id}`).boundingBox();
    expect(box !== null && box.x >= 0 && box.x + box.width <= 360).toBe(true);
  }
});

scenario("everything has a name for those who do not see it", async (world) => {
  const page = await world.join("notes");
  const tree = await page.locator("body").ariaSnapshot();
  for (const name of ["Share", "Download", "Messages"]) {
    expect(tree).toContain(`button "${name}`);
  }
  expect(tree).toMatch(/textbox "[^"]+"/);
  expect(tree).toMatch(/heading "notes"/);
  // No control without a name.
  expect(tree).not.toMatch(/- (?:button|link|textbox|img)(?:\n|:|$)/m);
  await edit(page);
  await page.keyboard.type("x");
  await isSaved(page);
  world.network.set("cut");
  await expect.poll(() => page.locator("#announcer").textContent(), { timeout: PATIENCE }).not.toBe("");
});

scenario("the page is styled, in the light and in the dark", async (world) => {
  const colours: string[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    const page = await world.open(await world.person({ colorScheme }), "notes");
    colours.push(await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
    // The editor's own styles are made by a script: the policy must let them in.
    const display = await page.locator(".cm-scroller").evaluate((scroller) => getComputedStyle(scroller).display);
    expect(display).toBe("flex");
    await keep(page, colorScheme);
  }
  expect(colours[0]).not.toBe(colours[1]);
});
