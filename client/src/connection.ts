/** One WebSocket connection: frames in, frames out, nothing of what they mean. */

/** What a {@link WebSocketLike} tells. */
export interface WebSocketEvent {
  /** Of `message`: a string if the frame is text. */
  readonly data?: unknown;
  /** Of `close`: the close code. */
  readonly code?: number;
}

/** What the client needs of a WebSocket: the browsers' has it, that of Node from 22 on, and the package `ws`. */
export interface WebSocketLike {
  send(text: string): void;
  close(): void;
  addEventListener(type: "open" | "message" | "close" | "error", listener: (event: WebSocketEvent) => void): void;
}

/** Whom a connection tells. */
export interface ConnectionListener {
  opened(): void;
  /** A frame arrived: its text, or `undefined` if it was binary. */
  received(text: string | undefined): void;
  /** The connection is gone; `code` if a close code was received. Comes at most once, and last. */
  lost(code: number | undefined): void;
}

/** The codes that a browser makes up where no close frame came. */
const NO_CODE: readonly (number | undefined)[] = [1005, 1006];

/** One attempt at a connection. After `lost`, or after it was left, it tells nothing and sends nothing. */
export class Connection {
  readonly #socket: WebSocketLike;
  #isOver = false;

  /** Throws what `open` throws. */
  constructor(open: () => WebSocketLike, listener: ConnectionListener) {
    const socket = open();
    this.#socket = socket;
    const lost = (code: number | undefined) => {
      if (this.#isOver) return;
      this.#isOver = true;
      listener.lost(NO_CODE.includes(code) ? undefined : code);
    };
    socket.addEventListener("open", () => this.#isOver || listener.opened());
    socket.addEventListener("message", ({ data }) => {
      if (!this.#isOver) listener.received(typeof data === "string" ? data : undefined);
    });
    socket.addEventListener("close", ({ code }) => lost(code));
    // Always fatal. Not every implementation lets `close` follow when it could not connect.
    socket.addEventListener("error", () => lost(undefined));
  }

  /** Whether it tells and sends nothing any more. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Sends a text frame. */
  send(text: string): void {
    if (!this.#isOver) this.#socket.send(text);
  }

  /**
   * Lets go of it. Its `close` event is not waited for: on a dead network it comes a minute later.
   */
  leave(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#socket.close();
  }
}
