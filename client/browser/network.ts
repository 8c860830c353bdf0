/** A network between pages and the server that can be cut, stalled and healed. */

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket, type Server as TcpServer } from "node:net";

/**
 * - `open`: everything passes.
 * - `http`: WebSockets are cut off and refused; pages can still be loaded.
 * - `cut`: connections are destroyed, new ones are closed at once.
 * - `stalled`: connections stay, nothing passes.
 */
export type Passage = "open" | "http" | "cut" | "stalled";

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  readonly isWebSocket: boolean;
}

/** A TCP proxy. Pages are opened at its address, so that `Host` and `Origin` agree. */
export class FaultyNetwork {
  readonly #tcp: TcpServer;
  readonly #target: () => number;
  readonly #pairs = new Set<Pair>();
  /** Connections that have not said yet what they want. */
  readonly #silent = new Set<Socket>();
  #passage: Passage = "open";

  private constructor(target: () => number) {
    this.#target = target;
    this.#tcp = createServer((client) => this.#accept(client));
  }

  /** Starts one on a free port, in front of a port that is asked for at every connection. */
  static async start(target: () => number): Promise<FaultyNetwork> {
    const proxy = new FaultyNetwork(target);
    proxy.#tcp.listen(0, "127.0.0.1");
    await once(proxy.#tcp, "listening");
    return proxy;
  }

  get port(): number {
    return (this.#tcp.address() as AddressInfo).port;
  }

  /** How many WebSockets are open through it. */
  get webSockets(): number {
    return [...this.#pairs].filter((pair) => pair.isWebSocket).length;
  }

  /** Changes what passes, for what is open and for what comes. */
  set(passage: Passage): void {
    this.#passage = passage;
    for (const { client, server, isWebSocket } of this.#pairs) {
      if (passage === "cut" || (passage === "http" && isWebSocket)) {
        client.destroy();
        server.destroy();
      } else {
        const move = passage === "stalled" ? "pause" : "resume";
        client[move]();
        server[move]();
      }
    }
    for (const client of this.#silent) {
      if (passage === "cut") {
        client.destroy();
      } else {
        client[passage === "stalled" ? "pause" : "resume"]();
      }
    }
  }

  #accept(client: Socket): void {
    client.on("error", () => client.destroy());
    if (this.#passage === "cut") {
      client.destroy();
      return;
    }
    this.#silent.add(client);
    client.on("close", () => this.#silent.delete(client));
    let head = Buffer.alloc(0);
    const read = (bytes: Buffer): void => {
      head = Buffer.concat([head, bytes]);
      if (head.includes("\r\n\r\n")) {
        client.off("data", read);
        this.#silent.delete(client);
        this.#join(client, head);
      }
    };
    client.on("data", read);
    if (this.#passage === "stalled") {
      client.pause();
    }
  }

  #join(client: Socket, head: Buffer): void {
    const isWebSocket = /^upgrade: *websocket/im.test(head.toString("latin1"));
    if (isWebSocket && this.#passage === "http") {
      client.destroy();
      return;
    }
    const server = connect(this.#target(), "127.0.0.1");
    const pair = { client, server, isWebSocket };
    this.#pairs.add(pair);
    const end = (): void => {
      this.#pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      socket.on("error", end);
      socket.on("close", end);
    }
    server.write(head);
    client.on("data", (bytes) => server.write(bytes));
    server.on("data", (bytes) => client.write(bytes));
  }

  /** Ends it and everything that passes through it. */
  async stop(): Promise<void> {
    this.set("cut");
    this.#tcp.close();
    await once(this.#tcp, "close");
  }
}
