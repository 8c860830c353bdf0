/** The real server, as a process. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const BINARY = resolve(import.meta.dirname, process.env.CARGO_TARGET_DIR ?? "../../target", "debug/collab-engine");

/** Judges what the server recorded. */
const JUDGE = resolve(BINARY, "../collab-model");

/** The judge's exit code for the trace of a server that was killed. */
const INCOMPLETE = 3;

/** Lines of its log that are kept for the report of a failure. */
const LOG_LINES = 60;

/** A server with a data directory of its own, which can be killed and started again. */
export class Server {
  readonly log: string[] = [];
  readonly #data: string;
  #process: ChildProcess | undefined;
  #port = 0;

  private constructor(data: string) {
    this.#data = data;
  }

  /** Starts one on a free port. */
  static async start(): Promise<Server> {
    const server = new Server(await mkdtemp(join(tmpdir(), "collab-browser-")));
    await server.restart();
    return server;
  }

  get port(): number {
    return this.#port;
  }

  /** Starts it again, on the port and with the data that it had. */
  async restart(): Promise<void> {
    const listen = `127.0.0.1:${this.#port}`;
    const args = [
      "serve",
      "--listen",
      listen,
      "--data",
      this.#data,
      "--trace",
      this.#trace,
      "--log",
      "info,collab_engine=debug",
    ];
    const child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"], env: {} });
    this.#process = child;
    createInterface({ input: child.stderr }).on("line", (line) => this.#note(line));
    const announced = once(createInterface({ input: child.stdout }), "line");
    const failed = once(child, "exit").then(([code]) => {
      throw new Error(`the server ended with ${code}: ${this.log.join("\n")}`);
    });
    // The exit is awaited by whoever ends it; here it only matters if it comes first.
    failed.catch(() => undefined);
    const [line] = (await Promise.race([announced, failed])) as [string];
    const port = /http:\/\/127\.0\.0\.1:(\d+) /.exec(line)?.[1];
    if (port === undefined) {
      throw new Error(`no address in what the server says: ${line}`);
    }
    this.#port = Number(port);
  }

  #note(line: string): void {
    this.log.push(line);
    if (this.log.length > LOG_LINES) {
      this.log.shift();
    }
  }

  /** Ends it as a power cut would: no goodbye to anybody, nothing flushed. */
  async kill(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
  }

  /** The text that it has, or nothing if there is no such document. */
  async text(doc: string): Promise<string | undefined> {
    const response = await fetch(`http://127.0.0.1:${this.#port}/api/v1/documents/${doc}/text`);
    const body = (await response.json()) as { readonly text?: string };
    return body.text;
  }

  /** Where it records what it does. */
  get #trace(): string {
    return `${this.#data}.trace`;
  }

  /** Ends it, judges what it did, and removes its data. */
  async stop(): Promise<void> {
    await this.kill();
    try {
      await this.#judge();
    } finally {
      await rm(this.#data, { recursive: true, force: true });
      await rm(this.#trace, { force: true });
    }
  }

  /** Whatever the test was about: what the server did must be explained, as far as it could record it. */
  async #judge(): Promise<void> {
    const judge = spawn(JUDGE, ["validate", this.#trace], { stdio: ["ignore", "pipe", "pipe"] });
    const said: string[] = [];
    judge.stdout.on("data", (text: Buffer) => said.push(text.toString()));
    judge.stderr.on("data", (text: Buffer) => said.push(text.toString()));
    const [code] = (await once(judge, "close")) as [number | null];
    if (code !== 0 && code !== INCOMPLETE) {
      throw new Error(`the server's trace is not explained: ${said.join("")}`);
    }
  }
}
