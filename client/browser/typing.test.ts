/** What people type. */

import { expect } from "vitest";
import { agreed, countOf, edit, isSaved, keep, scenario, shownIn, textOf } from "./world.ts";

scenario("two people who type at the same place at the same time both find everything", async (world) => {
  const [a, b] = [await world.join("notes"), await world.join("notes")];
  const [typedByA, typedByB] = ["abcdefghijklm".repeat(4), "NOPQRSTUVWXYZ".repeat(4)];
  await Promise.all([edit(a), edit(b)]);
  await Promise.all([a.keyboard.type(typedByA), b.keyboard.type(typedByB)]);
  const text = await agreed(world, "notes", [a, b], (text) => text.length === typedByA.length + typedByB.length);
  expect(text.replaceAll(/[A-Z]/g, "")).toBe(typedByA);
  expect(text.replaceAll(/[a-z]/g, "")).toBe(typedByB);
  await isSaved(a);
  await keep(a, "two-people");
});

scenario("what one deletes the other no longer sees", async (world) => {
  const [a, b] = [await world.join("notes"), await world.join("notes")];
  await edit(a);
  await a.keyboard.type("one two three");
  await agreed(world, "notes", [a, b], (text) => text === "one two three");
  await edit(b, "Control+Home", "Delete", "Delete", "Delete", "Delete");
  await agreed(world, "notes", [a, b], (text) => text === "two three");
  await edit(a, "Control+End", "Control+Backspace");
  await agreed(world, "notes", [a, b], (text) => text === "two ");
  await edit(b, "Control+a", "Backspace");
  await agreed(world, "notes", [a, b], (text) => text === "");
});

scenario("undo takes back the own edits and leaves those of others", async (world) => {
  const [a, b] = [await world.join("notes"), await world.join("notes")];
  await edit(a);
  await a.keyboard.type("mine ");
  await agreed(world, "notes", [a, b], (text) => text === "mine ");
  await edit(b, "Control+End");
  await b.keyboard.type("theirs ");
  await agreed(world, "notes", [a, b], (text) => text === "mine theirs ");
  await edit(a, "Control+z");
  await agreed(world, "notes", [a, b], (text) => text === "theirs ");
  await edit(a, "Control+z", "Control+z");
  await agreed(world, "notes", [a, b], (text) => text === "theirs ");
  await edit(a, "Control+y");
  await agreed(world, "notes", [a, b], (text) => text === "mine theirs ");
});

scenario("line ends of every kind keep everybody's positions", async (world) => {
  const [a, b] = [await world.join("notes"), await world.join("notes")];
  const text = "one\r\ntwo\rthree\nfour\u2028five";
  await b.evaluate((text) => window.collab?.client.insert(0, text), text);
  await agreed(world, "notes", [a, b], (shared) => shared === text);
  await edit(a, "Control+End");
  await a.keyboard.type("!");
  await agreed(world, "notes", [a, b], (shared) => shared === `${text}!`);
  await edit(a, "Control+Home", "ArrowDown", "End", "ArrowDown", "Home");
  await a.keyboard.type("?");
  const shared = await agreed(world, "notes", [a, b], (shared) => shared.includes("?"));
  expect(shared.replace("?", "")).toBe(`${text}!`);
  expect("\r\n\u2028").toContain(shared.charAt(shared.indexOf("?") - 1));
});

scenario("a paste of 100,000 characters arrives whole", async (world) => {
  const [a, b] = [await world.join("notes"), await world.join("notes")];
  const line = "The quick brown fox – größer, 漢字 and 👩‍👩‍👧 – jumps over the lazy dog.\n";
  const text = line.repeat(Math.ceil(100_000 / line.length));
  await edit(a);
  await a.evaluate((text) => {
    const data = new DataTransfer();
    data.setData("text/plain", text);
    const paste = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
    document.querySelector(".cm-content")?.dispatchEvent(paste);
  }, text);
  await agreed(world, "notes", [a, b], (shared) => shared === text);
  await isSaved(a);
});

scenario("what an input method composes survives the edits of others", async (world) => {
  const [a, b] = [await world.join("notes"), await world.join("notes")];
  await edit(a);
  await a.keyboard.type("before after");
  await agreed(world, "notes", [a, b], (text) => text === "before after");
  await edit(a, "Control+Home", ...Array<string>(7).fill("ArrowRight"));
  const input = await a.context().newCDPSession(a);
  await input.send("Input.imeSetComposition", { text: "に", selectionStart: 1, selectionEnd: 1 });
  // In the line that is composed in, where the editor must wait; and in another one.
  await edit(b, "Control+Home");
  await b.keyboard.type("hey ");
  await edit(b, "Control+End");
  await b.keyboard.type("\nmore");
  await expect.poll(() => textOf(a)).toMatch(/^hey .*\nmore$/);
  await input.send("Input.imeSetComposition", { text: "にほん", selectionStart: 3, selectionEnd: 3 });
  await input.send("Input.insertText", { text: "日本" });
  const text = await agreed(world, "notes", [a, b], (text) => text.includes("日本"));
  expect(text).toBe("hey before 日本after\nmore");
});

scenario("characters beyond the basic plane are deleted whole", async (world) => {
  const [a, b] = [await world.join("notes"), await world.join("notes")];
  await edit(a);
  await a.keyboard.insertText("a🙂b🙂c");
  await agreed(world, "notes", [a, b], (text) => text === "a🙂b🙂c");
  await edit(b, "Control+Home", "ArrowRight", "Delete");
  await agreed(world, "notes", [a, b], (text) => text === "ab🙂c");
  await edit(a, "Control+End", "Backspace", "Backspace");
  const text = await agreed(world, "notes", [a, b], (text) => countOf(text, "🙂") === 0);
  expect(text).toBe("ab");
  expect(await shownIn(b)).toBe("ab");
});
