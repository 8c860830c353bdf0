import { Client, type Delta, openStore } from "../src/index.ts";

/** Shares a document in a text area. Answers the client; `close()` ends it. */
export async function share(area: HTMLTextAreaElement, url: string, doc: string): Promise<Client> {
  const client = new Client({ url, doc, store: await openStore() });
  let shown = "";
  area.addEventListener("input", () => {
    const [before, after] = [shown, area.value];
    let [at, end] = [0, 0];
    while (at < Math.min(before.length, after.length) && before[at] === after[at]) at++;
    if (isInsidePair(after, at) || isInsidePair(before, at)) at--;
    const rest = Math.min(before.length, after.length) - at;
    while (end < rest && before.at(-1 - end) === after.at(-1 - end)) end++;
    if (isInsidePair(after, after.length - end) || isInsidePair(before, before.length - end)) end--;
    client.delete(at, before.length - end - at);
    client.insert(at, after.slice(at, after.length - end));
    shown = client.text;
  });
  client.on("change", ({ deltas, origin }) => {
    if (origin === "local") return;
    const selection = [area.selectionStart, area.selectionEnd].map((position) => deltas.reduce(moved, position));
    area.value = shown = client.text;
    area.setSelectionRange(selection[0] ?? 0, selection[1] ?? 0);
  });
  return client;
}

/** Whether a position in UTF-16 units cuts a character in two. */
function isInsidePair(text: string, at: number): boolean {
  return at > 0 && (text.codePointAt(at - 1) ?? 0) > 0xffff;
}

/** Where a position is after a change. */
function moved(position: number, delta: Delta): number {
  if (delta.at >= position) return position;
  if (delta.type === "insert") return position + delta.text.length;
  return Math.max(delta.at, position - delta.len);
}
