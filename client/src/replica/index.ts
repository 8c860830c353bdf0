/**
 * One replica as the client sees it: optimistic edits, what is pending, reconnecting, resubmission, resync, rekey.
 *
 * Pure: no clock, no randomness, no I/O; fresh names and jitter come in with the inputs. At any time the document is the
 * replay of the server's log up to `lastSeen` plus everything pending: edits show at once, and an operation stays pending
 * until the number it was acknowledged under has been integrated. It decides what the reference's
 * `src/protocol/client` decides, output by output.
 */

import { Document } from "../document.ts";
import { deletion, isSameOp, oneOrBatch, opCount } from "../edit.ts";
import { plus } from "../id.ts";
import type { Delta, Identity, Input, Output, ReplicaEvent, Saved, Status } from "../machine.ts";
import type { ClientMessage, Durability, Echo, ErrorMessage, HelloAck, Resync, ServerMessage } from "../message.ts";
import type { Edit, Op } from "../op.ts";
import { isWellFormed, unitCount } from "../text.ts";
import { type Pending, Queue } from "./queue.ts";
import { isAccepted, type Rekey, Translation } from "./rekey.ts";

export type { Pending };

const BACKOFF_MIN_MS = 250;
const BACKOFF_MAX_MS = 30_000;
/** Most characters that a local operation inserts or deletes, or fewer if the server says so: more become several operations. */
const LOCAL_RUN_MAX = 32_768;
/** Most edits of a local batch, or fewer if the server says so: deletions of more runs become several operations. */
const LOCAL_BATCH_MAX = 1000;
/** The close code by which a newer connection of the same client takes over. */
const TAKEN_OVER = 4001;

/** A barrier that is not answered yet; it goes out behind a message number. */
interface Barrier {
  readonly nonce: number;
  behind: number;
  isSent: boolean;
}

/** One replica of one document. */
export class Replica {
  readonly doc: string;
  #identity: Identity;
  #status: Status = { state: "offline" };
  /** How many connections were opened; the `attempt` of the last `hello`. */
  #attempt = 0;
  /** Connections in a row that ended without any progress. */
  #failures = 0;
  /** At least this long before coming back, as the last refusal asked. */
  #waitMs = 0;
  #document = new Document();
  #lastSeen = 0;
  #term: string | undefined;
  #durability: Durability | undefined;
  #own = new Queue();
  /** The last message number sent on this connection; infinite when only the connection's end is awaited. */
  #sent = 0;
  #inflightMax = 1;
  #runMax = LOCAL_RUN_MAX;
  #batchMax = LOCAL_BATCH_MAX;
  #wantsResync = false;
  /** The parts so far of a resync that is under way. */
  #parts: Resync[] = [];
  #rekey: Rekey | undefined;
  #barriers: Barrier[] = [];
  #out: Output[] = [];

  /** A replica of an empty document that has not connected yet. */
  constructor(doc: string, identity: Identity) {
    this.doc = doc;
    this.#identity = identity;
  }

  /**
   * Takes up what `saved` put away: a replica that has not connected, with what is pending on an empty document, where
   * it may wait for the text that it was made in. The operations are as `decodeOp` reads them: messages and comparisons
   * rest on the order of their fields.
   *
   * @throws {Error} if it contradicts itself.
   */
  static restore(doc: string, saved: Saved): Replica {
    const replica = new Replica(doc, saved.identity);
    const settled = saved.next_number - 1 - saved.pending.length;
    if (settled < 0 || saved.pending.some(([number], index) => number !== settled + 1 + index))
      throw new Error("pending messages are not numbered without gaps");
    replica.#attempt = saved.attempt;
    replica.#own = new Queue(settled, saved.clock);
    for (const [, op] of saved.pending) {
      replica.#document.integrate(op, []);
      replica.#own.push(op);
    }
    if (saved.rekey)
      replica.#rekey = {
        refused: saved.rekey.refused.map(([number, code]) => [number, code]),
        isDoubtful: saved.rekey.is_doubtful,
      };
    return replica;
  }

  /** What must be stored before any message of the same step leaves. */
  saved(): Saved {
    const rekey = this.#rekey;
    return {
      identity: this.#identity,
      attempt: this.#attempt,
      next_number: this.#own.next,
      clock: this.#own.clock,
      pending: this.#own.pending.slice(this.#own.settledCount).map(({ number, op }) => [number, op] as const),
      ...(rekey && { rekey: { refused: [...rekey.refused], is_doubtful: rekey.isDoubtful } }),
    };
  }

  /** Who this replica is. */
  get identity(): Identity {
    return this.#identity;
  }

  /** The document as the application sees it. After a `replaced` event it is another object. */
  get document(): Document {
    return this.#document;
  }

  /** What durable means to the server of the last join. */
  get durability(): Durability | undefined {
    return this.#durability;
  }

  /** The last number integrated. */
  get lastSeen(): number {
    return this.#lastSeen;
  }

  /** The state of the connection. */
  get status(): Status {
    return this.#status;
  }

  /** Own operations that are not acknowledged, or acknowledged under a number not integrated yet; oldest first. */
  get pending(): readonly Pending[] {
    return this.#own.pending;
  }

  /** Own operations that are not known to be durable. */
  get unacknowledgedCount(): number {
    return this.#own.pending.length - this.#own.settledCount;
  }

  /** The number that the next own operation gets. */
  get nextNumber(): number {
    return this.#own.next;
  }

  /** Whether this replica is about to become a new instance. */
  get isRekeying(): boolean {
    return this.#rekey !== undefined;
  }

  /** Applies one input; answers what the caller carries out, in order. Any input in any state gives a result. */
  step(input: Input): Output[] {
    this.#out = [];
    const hasEnded = this.#status.state === "ended";
    if (input.type === "insert") this.#localInsert(input.at, input.text);
    else if (input.type === "delete") this.#localDelete(input.at, input.len);
    else if (input.type === "sync") this.#onSync(input.nonce);
    else if (!hasEnded) this.#onConnection(input);
    return this.#out;
  }

  #onConnection(input: Exclude<Input, { type: "insert" | "delete" | "sync" }>) {
    switch (input.type) {
      case "start":
        return this.#connect();
      case "opened":
        return this.#onOpened(input.fresh);
      case "message":
        return this.#onMessage(input.message);
      case "malformed":
        return this.#protocolError();
      case "closed":
        return this.#onClosed(input.code, input.jitter);
      case "timer_fired":
        if (input.timer === this.#attempt) this.#connect();
    }
  }

  #tell(event: ReplicaEvent): void {
    this.#out.push({ type: "event", event });
  }

  #send(message: ClientMessage): void {
    this.#out.push({ type: "send", message });
  }

  #setStatus(state: "offline" | "connecting" | "live"): void {
    if (this.#status.state === state) return;
    this.#status = { state };
    this.#tell({ type: "status", status: this.#status });
  }

  #end(reason: string): void {
    this.#status = { state: "ended", reason };
    this.#tell({ type: "status", status: this.#status });
  }

  #is(state: Status["state"]): boolean {
    return this.#status.state === state;
  }

  #connect(): void {
    if (!this.#is("offline")) return;
    this.#setStatus("connecting");
    this.#out.push({ type: "connect" });
  }

  #onOpened(fresh: Identity): void {
    if (!this.#is("connecting")) return;
    this.#attempt += 1;
    this.#sent = 0;
    this.#parts = [];
    for (const barrier of this.#barriers) barrier.isSent = false;
    const old = this.#identity;
    const rekey = this.#rekey;
    if (rekey) rekey.successor ??= fresh;
    const { client, secret } = rekey?.successor ?? old;
    this.#send({
      type: "hello",
      doc_id: this.doc,
      client_id: client,
      last_seen_server_seq: rekey ? 0 : this.#lastSeen,
      protocol: { min: 1, max: 2 },
      client_secret: secret,
      attempt: this.#attempt,
      ...(!rekey && this.#term !== undefined && { term: this.#term }),
      answered: rekey ? 0 : this.#own.answered,
      epoch: 0,
      ...((rekey || this.#wantsResync) && { resync: true }),
      ...(rekey && { replaces: { client_id: old.client, client_secret: old.secret } }),
    });
  }

  /**
   * The server broke a rule: whatever it says next on this connection is not trusted, and the next one begins with the
   * state. What is pending is kept.
   */
  #protocolError(): void {
    this.#wantsResync = true;
    // Nothing more of this connection is listened to: its `closed` is what comes next.
    this.#setStatus("connecting");
    this.#giveUp();
  }

  #giveUp() {
    this.#sent = Number.POSITIVE_INFINITY;
    this.#out.push({ type: "disconnect" });
  }

  get #isDisconnecting(): boolean {
    return this.#sent === Number.POSITIVE_INFINITY;
  }

  #onClosed(code: number | undefined, jitter: number) {
    this.#sent = 0;
    if (code === TAKEN_OVER) return this.#end("taken_over");
    const doubled = Math.min(BACKOFF_MIN_MS * 2 ** Math.min(this.#failures, 10), BACKOFF_MAX_MS);
    // Between half of it and all of it, so that clients that were cut off together do not come back together.
    const spread = Math.floor((doubled * (65_536 + jitter)) / 131_072);
    const after_ms = Math.max(spread, this.#waitMs);
    this.#waitMs = 0;
    this.#failures += 1;
    this.#setStatus("offline");
    this.#out.push({ type: "set_timer", timer: this.#attempt, after_ms });
  }

  // Own operations: made, sent, sent again, settled.

  #localInsert(at: number, text: string) {
    if (text === "" || !isWellFormed(text) || !this.#document.rga.isPosition(at))
      return this.#tell({ type: "invalid_edit" });
    for (let start = 0; start < text.length; ) {
      const chunk = text.slice(start, start + unitCount(text.slice(start, start + 2 * this.#runMax), this.#runMax));
      const insert = this.#document.localInsert(this.#own.clock, at + start, chunk, this.#identity.client);
      if (insert) this.#local(insert);
      else this.#tell({ type: "invalid_edit" });
      start += chunk.length;
    }
    this.#pump();
  }

  #localDelete(at: number, len: number): void {
    const edits = this.#document.localDelete(at, len);
    if (edits.length === 0) this.#tell({ type: "invalid_edit" });
    let part: Edit[] = [];
    let room = this.#runMax;
    for (const { id, len = 1 } of edits)
      for (let done = 0; done < len; ) {
        const taken = Math.min(len - done, room);
        part.push(deletion(plus(id, done), taken));
        done += taken;
        room -= taken;
        if (room > 0 && part.length < this.#batchMax) continue;
        this.#local(oneOrBatch(part));
        part = [];
        room = this.#runMax;
      }
    if (part.length > 0) this.#local(oneOrBatch(part));
    this.#pump();
  }

  /** Integrates an own operation at once and queues it. */
  #local(op: Op): void {
    const deltas: Delta[] = [];
    this.#document.integrate(op, deltas);
    this.#own.push(op);
    this.#tell({ type: "changed", deltas });
  }

  #onSync(nonce: number): void {
    this.#barriers.push({ nonce, behind: this.#own.next - 1, isSent: false });
    this.#pump();
  }

  /**
   * Sends what may be sent on a joined connection: operations in order within the in-flight window, and barriers behind
   * the operations that they cover.
   */
  #pump(): void {
    if (!this.#is("live") || this.#isDisconnecting) return;
    const first = this.#own.first;
    for (let slot = Math.max(0, this.#sent + 1 - first); ; slot += 1) {
      const own = this.#own.pending[slot];
      if (!own || own.number > this.#own.answered + this.#inflightMax) break;
      this.#sent = own.number;
      if (own.settled !== undefined) continue;
      own.sentAs ??= [this.#own.answered, this.#lastSeen];
      const [answered, seen] = own.sentAs;
      this.#send({
        type: "op",
        doc_id: this.doc,
        client_id: this.#identity.client,
        client_msg_id: own.number,
        answered,
        epoch: 0,
        seen,
        op: own.op,
      });
    }
    const sent = Math.max(this.#sent, first - 1);
    for (const barrier of this.#barriers) {
      if (barrier.isSent || barrier.behind > sent) continue;
      barrier.isSent = true;
      this.#send({ type: "sync", nonce: barrier.nonce });
    }
  }

  /** Own messages up to `number` are accepted, and integrated once `lastSeen` reaches `at`. */
  #settle(number: number, at: number): void {
    for (const op of this.#own.settle(number, at)) this.#tell({ type: "acknowledged", op });
  }

  // What the server says, and what it changes.

  #onMessage(message: ServerMessage) {
    if (!(this.#is("connecting") || this.#is("live")) || this.#isDisconnecting) return;
    if (message.doc_id !== this.doc) return this.#protocolError();
    switch (message.type) {
      case "hello_ack":
        return this.#onHelloAck(message);
      case "error":
        return this.#onError(message);
      case "resync":
        return this.#onResync(message);
      case "op_echo":
        return this.#onEcho(message);
      case "ack":
        if (!this.#is("live") || !this.#isDue(message.client_msg_id)) return this.#protocolError();
        this.#settle(message.client_msg_id, message.server_seq);
        return this.#progressed();
      case "synced":
        return this.#is("live") ? this.#onSynced(message.nonce) : this.#protocolError();
      case "resync_text":
        return this.#protocolError();
    }
  }

  #onSynced(nonce: number): void {
    const before = this.#barriers.length;
    this.#barriers = this.#barriers.filter((barrier) => barrier.nonce !== nonce || !barrier.isSent);
    if (this.#barriers.length < before) this.#tell({ type: "synced", nonce });
    this.#failures = 0;
  }

  /**
   * Whether an own message can be answered now: it was sent, and every one before it is answered. Else an operation that
   * the server left out would count as acknowledged.
   */
  #isDue(number: number): boolean {
    const next = this.#own.pending[this.#own.settledCount];
    return number <= this.#sent && (!next || number <= next.number);
  }

  /** Something was integrated or answered: the connection is worth having. */
  #progressed(): void {
    this.#failures = 0;
    this.#own.drop(this.#lastSeen);
    this.#pump();
  }

  #onHelloAck({ server_seq, v2 }: HelloAck) {
    if (!v2) {
      this.#out.push({ type: "disconnect" });
      return this.#end("unsupported_version");
    }
    const isSurprise = this.#is("live") || (v2.follows === "nothing" && server_seq !== this.#lastSeen);
    if (isSurprise || (this.#rekey && v2.follows !== "resync")) return this.#protocolError();
    if (!this.#rekey && v2.last >= this.#own.next) {
      // An answer to a message that this replica never made: what it was restored from is older than what was sent under
      // its name.
      this.#beginRekey().isDoubtful = true;
      return this.#giveUp();
    }
    this.#durability = v2.durability;
    const { message_bytes_max = 2 ** 20, op_count_max, batch_edits_max, inflight_max } = v2.limits;
    const most = (usual: number, limit = usual) => Math.max(Math.min(usual, limit), 1);
    this.#inflightMax = Math.max(inflight_max, 1);
    // A character takes up to 6 bytes in a message, an edit with a name that is escaped throughout less than 1,024.
    this.#runMax = most(most(LOCAL_RUN_MAX, op_count_max), message_bytes_max >>> 3);
    this.#batchMax = most(most(LOCAL_BATCH_MAX, batch_edits_max), message_bytes_max >>> 10);
    if (this.#rekey) {
      // Goes on when the state is here.
      this.#rekey.replacedLast = v2.replaced_last;
      return;
    }
    this.#settle(v2.last, server_seq);
    // Behind a broken rule only what is integrated counts: else a server that breaks it again right after the join would
    // be asked for the whole state several times a second, for ever.
    if (this.#own.pending.length === 0 && !this.#wantsResync) this.#failures = 0;
    if (v2.follows === "nothing") {
      this.#term = v2.term;
      this.#own.drop(this.#lastSeen);
    }
    if (v2.follows !== "resync") {
      this.#setStatus("live");
      this.#pump();
    }
  }

  #onError({ code, retry, after_ms, client_msg_id }: ErrorMessage) {
    if (retry === "after_ms") this.#waitMs = after_ms ?? 0;
    else if (retry === "resync") this.#wantsResync = true;
    else if (retry === "rekey") this.#beginRekey();
    else if (client_msg_id !== undefined) this.#beginRekey().refused.push([client_msg_id, code]);
    else {
      this.#out.push({ type: "disconnect" });
      return this.#end(code);
    }
    // The server closes behind this; nothing else is expected.
    this.#giveUp();
  }

  #onEcho({ server_seq, origin_client_id, client_msg_id, op, count, term = this.#term }: Echo) {
    // Every number has a term (TERM-1): without one, the next `hello` could not name that of this number.
    const follows = this.#is("live") && term && op && this.#lastSeen + count === server_seq && count === opCount(op);
    if (!follows) return this.#protocolError();
    if (
      origin_client_id === this.#identity.client &&
      typeof client_msg_id === "number" &&
      client_msg_id > this.#own.forgotten
    ) {
      const own = this.#own.pending.find((pending) => pending.number === client_msg_id);
      if (!own || !isSameOp(own.op, op) || !this.#isDue(client_msg_id)) return this.#protocolError();
      this.#settle(client_msg_id, server_seq);
    }
    const deltas: Delta[] = [];
    this.#document.integrate(op, deltas);
    this.#lastSeen = server_seq;
    this.#term = term;
    if (deltas.length > 0) this.#tell({ type: "changed", deltas });
    this.#progressed();
  }

  #onResync(part: Resync) {
    if (!this.#rekey && part.server_seq < this.#lastSeen) return this.#protocolError();
    const parts = this.#parts;
    this.#parts = [];
    const [first] = parts;
    const belongs =
      part.part === parts.length + 1 &&
      (!first || (first.server_seq === part.server_seq && first.term === part.term && first.parts === part.parts));
    if (!belongs) return this.#protocolError();
    parts.push(part);
    if (part.part < part.parts) {
      this.#parts = parts;
      return;
    }
    const runs = parts.flatMap((part) => part.runs);
    const waiting = parts.flatMap((part) => part.waiting);
    const joined = Document.fromState(runs, waiting);
    if (!joined) return this.#protocolError();
    this.#lastSeen = part.server_seq;
    this.#term = part.term;
    this.#wantsResync = false;
    const rekey = this.#rekey;
    this.#rekey = undefined;
    if (rekey) this.#finishRekey(rekey, joined);
    else {
      this.#document = joined;
      this.#own.drop(this.#lastSeen);
      for (const { op } of this.#own.pending) joined.integrate(op, []);
    }
    this.#tell({ type: "replaced" });
    this.#setStatus("live");
    this.#pump();
  }

  /**
   * Decides to become a new instance: the one way out of every dead end. The successor may be what was refused; nothing
   * was sent under it, so another one costs nothing.
   */
  #beginRekey(): Rekey {
    this.#rekey ??= { refused: [], isDoubtful: false };
    this.#rekey.successor = undefined;
    return this.#rekey;
  }

  /**
   * Becomes the new instance on the joined state: settles what was accepted, surfaces what was refused, makes the rest
   * again.
   */
  #finishRekey(rekey: Rekey, joined: Document): void {
    const { successor } = rekey;
    if (!successor) return;
    const translation = new Translation(this.#document, joined, successor.client);
    const { pending } = this.#own;
    this.#document = joined;
    this.#own = new Queue();
    this.#sent = 0;
    for (const { number, op, settled } of pending) {
      if (settled !== undefined) continue;
      const refusal = rekey.refused.find(([refused]) => refused === number);
      if (isAccepted(rekey, number, op, joined)) this.#tell({ type: "acknowledged", op });
      else if (refusal) this.#tell({ type: "refused", op, code: refusal[1] });
      else {
        const edits = translation.again(op);
        if (edits.length === 0) this.#tell({ type: "acknowledged", op });
        else this.#own.push(oneOrBatch(edits));
      }
    }
    for (const barrier of this.#barriers) barrier.behind = this.#own.next - 1;
    this.#identity = successor;
  }
}
