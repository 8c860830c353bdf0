/** What must not happen, whatever a text, a name or a foreign page tries. */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "vitest";
import { agreed, edit, isLive, isSaved, keep, PATIENCE, scenario, shownIn, textOf } from "./world.ts";

const MARKUP = `<img src=x onerror="alert(1)"><script>alert(2)</script><a href="javascript:alert(3)">x</a>`;

/** Tries to open a WebSocket from a page; answers how that ended. */
function tryWebSocket(url: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url);
    socket.addEventListener("open", () => resolve("open"));
    socket.addEventListener("close", ({ code }) => resolve(`closed with ${code}`));
  });
}

scenario("a page of another origin gets no connection", async (world) => {
  const foreign = createServer((_request, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>elsewhere</title>");
  });
  await new Promise<void>((resolve) => foreign.listen(0, "127.0.0.1", resolve));
  try {
    const person = await world.person();
    const url = `ws://127.0.0.1:${world.network.port}/ws`;
    const own = await world.open(person, "notes");
    expect(await own.evaluate(tryWebSocket, url)).toBe("open");
    const page = await person.newPage();
    await page.goto(`http://127.0.0.1:${(foreign.address() as AddressInfo).port}/`);
    expect(await page.evaluate(tryWebSocket, url)).toBe("closed with 1006");
    const read = await page.evaluate(
      (url) => fetch(url).then(() => "read", String),
      `${world.origin}/api/v1/documents`,
    );
    expect(read).toContain("Failed to fetch");
  } finally {
    foreign.close();
  }
});

scenario("markup in a text is text, in the editor and in the messages", async (world) => {
  const [a, b] = [await world.join("notes"), await world.join("notes")];
  await b.locator("#messages-toggle").click();
  await edit(a);
  await a.keyboard.insertText(MARKUP);
  await agreed(world, "notes", [a, b], (text) => text === MARKUP);
  await b.locator("#messages .message[data-direction=in]").last().waitFor();
  for (const page of [a, b]) {
    expect(
      await page.locator(".cm-content img, .cm-content script, .cm-content a, #messages img, #messages script").count(),
    ).toBe(0);
    expect(await page.locator(".cm-content").textContent()).toBe(MARKUP);
  }
});

scenario("a name that cannot be is told as text", async (world) => {
  const page = await (await world.person()).newPage();
  const response = await page.goto(`${world.origin}/d/${encodeURIComponent(MARKUP)}`);
  expect(response?.status()).toBe(404);
  await page.getByText("<img src=x").waitFor({ timeout: PATIENCE });
  expect(await page.locator("img").count()).toBe(0);
  await keep(page, "invalid-name");
});

scenario("the policy stops what is injected all the same", async (world) => {
  const page = await world.join("notes");
  const ran = await page.evaluate(async () => {
    const violation = new Promise((resolve) =>
      document.addEventListener("securitypolicyviolation", resolve, { once: true }),
    );
    const script = document.createElement("script");
    script.textContent = "document.body.dataset.ran = 'yes'";
    document.body.append(script);
    await violation;
    return document.body.dataset.ran;
  });
  expect(ran).toBeUndefined();
  await expect.poll(() => world.faults).toHaveLength(1);
  expect(world.faults.pop()).toContain("policy: script-src-elem by inline");
});

scenario("a text that the server refuses is shown, to be copied", async (world) => {
  const person = await world.person();
  // Our server refuses only what is over its limits; so somebody on the way refuses in its place.
  await person.routeWebSocket(/\/ws$/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((message) => {
      const { type, doc_id, client_msg_id, op } = JSON.parse(String(message));
      if (type === "op" && JSON.stringify(op).includes("over the limit")) {
        const error = { type: "error", doc_id, code: "document_full", retry: "never", message: "full", client_msg_id };
        socket.send(JSON.stringify(error));
        void socket.close({ code: 1008, reason: "document_full" });
        void server.close();
      } else {
        server.send(message);
      }
    });
  });
  const a = await world.open(person, "notes");
  const b = await world.join("notes");
  await edit(a);
  await a.keyboard.type("kept ");
  await isSaved(a);
  await a.keyboard.insertText("over the limit <b>");
  const item = a.locator("#refused .refused-item");
  await item.waitFor({ timeout: PATIENCE });
  expect(await item.textContent()).toContain("over the limit <b>");
  expect(await item.getByRole("button", { name: "Copy" }).count()).toBe(1);
  await keep(a, "refused");
  await isLive(a);
  await edit(a, "Control+End");
  await a.keyboard.type("again");
  await agreed(world, "notes", [a, b], (text) => text === "kept again");
});

scenario("the messages show both directions, and no secret", async (world) => {
  const page = await world.join("notes");
  const secrets: string[] = [];
  page.on("websocket", (socket) => {
    socket.on("framesent", ({ payload }) =>
      secrets.push(...(/"client_secret":"([^"]+)"/.exec(String(payload))?.slice(1) ?? [])),
    );
  });
  await page.reload();
  await isLive(page);
  await page.locator("#messages-toggle").click();
  await edit(page);
  await page.keyboard.type("seen");
  await isSaved(page);
  for (const direction of ["in", "out"]) {
    await page.locator(`#messages .message[data-direction=${direction}]`).first().waitFor();
  }
  for (const summary of await page.locator("#messages .message summary").all()) {
    await summary.click();
  }
  expect(secrets.length).toBeGreaterThan(0);
  const html = await page.locator("#messages").evaluate((panel) => panel.innerHTML + panel.textContent);
  expect(html).toContain("client_secret");
  for (const secret of secrets) {
    expect(html).not.toContain(secret);
  }
  await keep(page, "messages");
});

scenario("what is downloaded is the text, to the byte", async (world) => {
  const page = await world.join("notes");
  const text = "one\r\ntwo\rthree\n\tfünf 🙂\u0000 end ";
  await page.evaluate((text) => window.collab?.client.insert(0, text), text);
  await isSaved(page);
  expect(await textOf(page)).toBe(text);
  expect(await shownIn(page)).toBe(text);
  const download = page.waitForEvent("download");
  await page.locator("#download").click();
  const stream = await (await download).createReadStream();
  const chunks: Buffer[] = [];
  for await (const chunk of stream) {
    chunks.push(chunk as Buffer);
  }
  expect(Buffer.concat(chunks).toString("utf8")).toBe(text);
  expect((await download).suggestedFilename()).toMatch(/^notes/);
});
