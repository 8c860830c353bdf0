import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import { share } from "../examples/textarea.ts";
import { FakeServer } from "./support/server.ts";
import { rest, until } from "./support/turns.ts";

/** As much of a text area as the example touches. */
class Area extends EventTarget {
  value = "";
  selectionStart = 0;
  selectionEnd = 0;

  setSelectionRange(start: number, end: number): void {
    [this.selectionStart, this.selectionEnd] = [start, end];
  }

  type(value: string): void {
    this.value = value;
    this.dispatchEvent(new Event("input"));
  }
}

afterEach(() => vi.unstubAllGlobals());

describe("the example", () => {
  it("shares what is typed into two text areas", async () => {
    const server = new FakeServer();
    vi.stubGlobal("WebSocket", function open() {
      return server.open();
    });
    const areas = [new Area(), new Area()] as const;
    const clients = await Promise.all(
      areas.map((area) => share(area as unknown as HTMLTextAreaElement, "ws://localhost/ws", "notes")),
    );
    await until(() => clients.every(({ status }) => status.state === "live"));
    const [a, b] = areas;
    for (const text of ["h", "hello", "hello \u{1f600}", "hello \u{1f601}", "hallo \u{1f601}"]) {
      a.type(text);
      await rest();
      expect([b.value, server.text]).toEqual([text, text]);
    }
    a.setSelectionRange(5, 8);
    b.type("oh, hallo \u{1f601}");
    await rest();
    expect([a.value, a.selectionStart, a.selectionEnd]).toEqual(["oh, hallo \u{1f601}", 9, 12]);
    a.type("");
    await rest();
    expect([b.value, server.text, b.selectionStart]).toEqual(["", "", 0]);
    await Promise.all(clients.map((client) => client.close()));
  });

  it("is what the documentation shows", () => {
    const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");
    const shown = read("../../docs/client.md");
    const example = read("../examples/textarea.ts").replace("../src/index.ts", "collab-engine");
    expect(shown).toContain(`\`\`\`ts\n${example}\`\`\``);
  });
});
