/** What a comparison has met: one that met nothing says nothing. */

import type { StepLine } from "./lines.ts";

/** Everything that must be met at least once. */
const EXPECTED = [
  ...["start", "insert", "delete", "sync", "opened", "message", "malformed", "closed", "timer_fired"].map(
    (kind) => `input ${kind}`,
  ),
  ...["hello_ack", "op_echo", "resync", "ack", "error", "synced"].map((kind) => `message ${kind}`),
  ...["connect", "send", "disconnect", "set_timer", "event"].map((kind) => `output ${kind}`),
  ...["changed", "replaced", "status", "acknowledged", "refused", "synced", "invalid_edit"].map(
    (kind) => `event ${kind}`,
  ),
  ...["offline", "connecting", "live", "ended"].map((state) => `status ${state}`),
  ...["never", "rekey", "resync", "after_ms"].map((advice) => `retry ${advice}`),
  "replica world",
  "replica lone",
  "malformed text",
  "partial resync",
  "rekey finished",
  "doubtful rekey finished",
  "edit before joining",
  "astral character",
  "something waits",
  "restore",
  "restore of something pending",
  "refusal to restore",
] as const;

/** Counts what is met. */
export class Statistics {
  readonly #counts = new Map<string, number>(EXPECTED.map((kind) => [kind, 0]));
  #steps = 0;
  #identity: string | undefined;
  #isDoubtful = false;

  replica(kind: "world" | "lone"): void {
    this.#identity = undefined;
    this.#isDoubtful = false;
    this.#count(`replica ${kind}`);
  }

  restored(pending: number): void {
    this.#identity = undefined;
    this.#count("restore");
    if (pending > 0) this.#count("restore of something pending");
  }

  restoreFailed(): void {
    this.#count("refusal to restore");
  }

  /** Counts a step that was the same on both sides. */
  step(line: StepLine): void {
    this.#steps += 1;
    const { in: input, is } = line;
    this.#count(`input ${input.type}`);
    if (input.type === "message") this.#message(input.text, input.is_malformed);
    if (input.type === "insert" && is.status.state !== "live" && is.length > 0) this.#count("edit before joining");
    for (const output of line.out) {
      this.#count(`output ${output.type}`);
      if (output.type !== "event") continue;
      this.#count(`event ${output.event.type}`);
      if (output.event.type === "status") this.#count(`status ${output.event.status.state}`);
    }
    if (this.#identity !== undefined && this.#identity !== is.identity.client) {
      this.#count(this.#isDoubtful ? "doubtful rekey finished" : "rekey finished");
    }
    this.#identity = is.identity.client;
    this.#isDoubtful = is.rekey?.is_doubtful ?? false;
    if (line.whole === undefined) return;
    if (line.whole.waiting.length > 0) this.#count("something waits");
    if (/[\u{10000}-\u{10ffff}]/u.test(line.whole.text)) this.#count("astral character");
  }

  #message(text: string, isMalformed: boolean): void {
    if (isMalformed) {
      this.#count("malformed text");
      return;
    }
    const message: Record<string, unknown> = JSON.parse(text);
    this.#count(`message ${message.type}`);
    if (message.type === "resync" && Number(message.parts) > 1) this.#count("partial resync");
    if (message.type === "error") this.#count(`retry ${message.retry}`);
  }

  #count(kind: string): void {
    const count = this.#counts.get(kind);
    if (count === undefined) throw new Error(`nobody expects ${kind}`);
    this.#counts.set(kind, count + 1);
  }

  /** Kinds that must be met and were not. */
  missed(): string[] {
    return [...this.#counts].filter(([, count]) => count === 0).map(([kind]) => kind);
  }

  toString(): string {
    const counts = [...this.#counts].map(([kind, count]) => `${kind} ${count}`);
    return `${this.#steps} steps: ${counts.join(", ")}`;
  }
}
