/**
 * One keystroke in a text of 100,000 characters, beside Yjs: what the author does until there is a message, and what somebody
 * else does with that message. Each time on a replica that has just joined, as when somebody opens a document.
 */

import { bench, describe } from "vitest";
import * as Y from "yjs";
import { decodeServer, encodeClient } from "../src/codec/index.ts";
import type { OpMessage } from "../src/message.ts";
import { Replica } from "../src/replica/index.ts";
import { echo, greeting, identity, part } from "./support/rig.ts";

const CHARACTERS = 100_000;
const KEYSTROKES = 2000;
const TIMES = { iterations: 20, time: 0, warmupIterations: 5, warmupTime: 0 } as const;
/** As many as a benchmark begins, and those that look whether all is well. */
const REPLICAS = 30;

/** A character, or a backspace. */
interface Keystroke {
  readonly at: number;
  readonly char: string | undefined;
}

/** The generator of "Numerical Recipes": the same text each time. */
function random(seed: number): (below: number) => number {
  let last = seed;
  return (below) => {
    last = (Math.imul(last, 1664525) + 1013904223) >>> 0;
    return Math.floor((last / 2 ** 32) * below);
  };
}

/** Bursts of typing at random places, some of which end in backspaces, in a text that is so long before. */
function* keystrokes(seed: number, before: number): Generator<Keystroke> {
  const next = random(seed);
  for (let length = before; ; ) {
    const [at, typed, taken] = [next(length + 1), 2 + next(30), next(3)];
    for (let index = 0; index < typed; index += 1) yield { at: at + index, char: String.fromCharCode(97 + next(26)) };
    for (let index = 1; index <= taken; index += 1) yield { at: at + typed - index, char: undefined };
    length += typed - taken;
  }
}

function first<T>(count: number, items: Iterable<T>): T[] {
  const taken: T[] = [];
  for (const item of items) {
    taken.push(item);
    if (taken.length === count) break;
  }
  return taken;
}

function step(replica: Replica, { at, char }: Keystroke): ReturnType<Replica["step"]> {
  return replica.step(char === undefined ? { type: "delete", at, len: 1 } : { type: "insert", at, text: char });
}

/** What goes over the wire for a keystroke. */
function press(replica: Replica, keystroke: Keystroke): string {
  for (const output of step(replica, keystroke)) if (output.type === "send") return encodeClient(output.message);
  throw new Error("nothing was sent");
}

function pressYjs(text: Y.Text, { at, char }: Keystroke): void {
  if (char === undefined) text.delete(at, 1);
  else text.insert(at, char);
}

const writer = new Replica("d", identity("W"));
const writerYjs = new Y.Doc();
for (const keystroke of keystrokes(1, 0)) {
  step(writer, keystroke);
  pressYjs(writerYjs.getText(), keystroke);
  if (writer.document.length === CHARACTERS) break;
}
const written = writer.pending.length;
const state = part(written, 1, 1, writer.pending.map(({ op }) => op)); // biome-ignore format: one argument each
const stateYjs = Y.encodeStateAsUpdate(writerYjs);

function joined(name: string): Replica {
  const replica = new Replica("d", identity(name));
  replica.step({ type: "start" });
  replica.step({ type: "timer_fired", timer: replica.saved().attempt });
  replica.step({ type: "opened", fresh: identity(`${name}1`) });
  replica.step({ type: "message", message: greeting(written, 0, "resync", { limits: { inflight_max: KEYSTROKES } }) });
  replica.step({ type: "message", message: state });
  return replica;
}

/** With somebody who wants to know what to send. */
function joinedYjs(sent: Uint8Array[] = []): Y.Doc {
  const doc = new Y.Doc();
  Y.applyUpdate(doc, stateYjs);
  doc.on("update", (update: Uint8Array) => sent.push(update));
  return doc;
}

const pressed = first(KEYSTROKES, keystrokes(2, CHARACTERS));
const author = joined("A");
const frames = pressed.map((keystroke, index) => {
  const { client_msg_id, op } = JSON.parse(press(author, keystroke)) as OpMessage;
  return JSON.stringify(echo(written + 1 + index, "A", client_msg_id, op));
});
const updates: Uint8Array[] = [];
const authorYjs = joinedYjs(updates);
for (const keystroke of pressed) pressYjs(authorYjs.getText(), keystroke);
const end = author.document.text;

/** A benchmark of what is done with a replica, each time with another one. */
function each<T>(name: string, make: () => T, run: (replica: T) => void, text: (replica: T) => string): void {
  const once = make();
  run(once);
  if (text(once) !== end) throw new Error(`${name} ends in another text`);
  const replicas = Array.from({ length: REPLICAS }, make);
  bench(
    name,
    () => {
      const replica = replicas.pop();
      if (!replica) throw new Error("more replicas are needed");
      run(replica);
    },
    TIMES,
  );
}

const OURS = "collab-engine";
const YJS = "Yjs";
const textOf = (replica: Replica): string => replica.document.text;
const textOfYjs = (doc: Y.Doc): string => doc.getText().toString();

describe(`local: ${KEYSTROKES} keystrokes in ${CHARACTERS} characters, each to its message`, () => {
  const local = (replica: Replica): void => pressed.forEach((keystroke) => void press(replica, keystroke));
  const localYjs = (doc: Y.Doc): void => pressed.forEach((keystroke) => void pressYjs(doc.getText(), keystroke));
  each(OURS, () => joined("B"), local, textOf);
  each(YJS, () => joinedYjs(), localYjs, textOfYjs);
});

describe(`remote: ${KEYSTROKES} keystrokes in ${CHARACTERS} characters, each from its message`, () => {
  each(OURS, () => joined("B"), receive, textOf);
  each(YJS, () => joinedYjs(), receiveYjs, textOfYjs);

  function receive(replica: Replica): void {
    for (const frame of frames) {
      const message = decodeServer(frame);
      if (message) replica.step({ type: "message", message });
    }
  }

  function receiveYjs(doc: Y.Doc): void {
    for (const update of updates) Y.applyUpdate(doc, update);
  }
});
