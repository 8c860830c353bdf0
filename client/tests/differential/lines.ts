/** The lines that `collab-differential traces` writes. The format is told in client/differential/README.md. */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Identity, ReplicaEvent, Saved, SavedRekey, Status } from "../../src/machine.ts";
import type { Run } from "../../src/message.ts";
import type { Edit, Op } from "../../src/op.ts";

/** Where a replica comes from: enough to write it down again. */
export interface Origin {
  readonly kind: "world" | "lone";
  readonly seed: number;
  readonly index: number;
  readonly steps?: number;
  readonly client?: number;
}

/** A replica begins; the lines up to its `end` are its own. */
export interface StartLine {
  readonly replica: Origin;
  readonly doc: string;
  readonly identity: Identity;
}

/** What goes in. A message of the server is the text of its frame. */
export type LineInput =
  | { readonly type: "start" }
  | { readonly type: "insert"; readonly at: number; readonly text: string }
  | { readonly type: "delete"; readonly at: number; readonly len: number }
  | { readonly type: "sync"; readonly nonce: number }
  | { readonly type: "opened"; readonly fresh: Identity }
  | { readonly type: "message"; readonly text: string; readonly is_malformed: boolean }
  | { readonly type: "malformed" }
  | { readonly type: "closed"; readonly code: number | null; readonly jitter: number }
  | { readonly type: "timer_fired"; readonly timer: number };

/** What comes out. A message to the server is the text of its frame. */
export type LineOutput =
  | { readonly type: "connect" }
  | { readonly type: "send"; readonly text: string }
  | { readonly type: "disconnect" }
  | { readonly type: "set_timer"; readonly timer: number; readonly after_ms: number }
  | { readonly type: "event"; readonly event: ReplicaEvent };

/** The state behind a step, in short. */
export interface Digest {
  readonly length: number;
  readonly hash: number;
  readonly last_seen: number;
  readonly status: Status;
  readonly next_number: number;
  readonly unacknowledged: number;
  readonly identity: Identity;
  readonly attempt: number;
  readonly clock: number;
  readonly rekey: SavedRekey | null;
  readonly pending: readonly (readonly [number: number, settled?: number])[];
}

/** The state, in full. */
export interface Whole {
  readonly text: string;
  readonly runs: readonly Run[];
  readonly waiting: readonly Edit[];
  readonly pending: readonly Op[];
  readonly saved: Saved;
}

/** One step. */
export interface StepLine {
  readonly in: LineInput;
  readonly out: readonly LineOutput[];
  readonly is: Digest;
  readonly whole?: Whole;
}

/** The program ended, and goes on with what it had saved: now, or some time ago. */
export interface RestoreLine {
  readonly restore: Saved;
  readonly is: Digest;
}

/** Nothing can be restored from this. */
export interface BadRestoreLine {
  readonly restore_fails: Saved;
}

/** The end of a replica. */
export interface EndLine {
  readonly end: Whole;
}

export type Line = StartLine | StepLine | RestoreLine | BadRestoreLine | EndLine;

/** The generator's binary: `COLLAB_DIFFERENTIAL_BIN`, or where cargo puts it. */
export function binary(): string {
  const path =
    process.env.COLLAB_DIFFERENTIAL_BIN ??
    fileURLToPath(new URL("../../../target/debug/collab-differential", import.meta.url));
  if (!existsSync(path)) {
    throw new Error(`${path} does not exist: run \`cargo build -p collab-differential\` first`);
  }
  return path;
}

/** Runs the generator and hands on its lines, one by one. Fails if it does. */
export async function* traces(args: readonly string[]): AsyncGenerator<Line> {
  const child: ChildProcess = spawn(binary(), ["traces", ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (child.stdout === null) throw new Error("the generator has no output");
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      yield JSON.parse(line) as Line;
    }
    const code = await ended;
    if (code !== 0) throw new Error(`the generator failed with ${code}`);
  } finally {
    child.kill();
  }
}
