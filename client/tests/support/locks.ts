/** Web Locks, as far as the store uses them: exclusive, queued, given up on abort. */

export class FakeLocks {
  readonly #queues = new Map<string, (() => void)[]>();

  readonly request = (async (name: string, options: LockOptions, held: (lock: Lock) => Promise<unknown>) => {
    const queue = this.#queues.get(name) ?? [];
    this.#queues.set(name, queue);
    await new Promise<void>((resolve, reject) => {
      options.signal?.addEventListener("abort", () => reject(options.signal?.reason));
      queue.push(resolve);
      if (queue.length === 1) resolve();
    });
    try {
      return await held({ name, mode: "exclusive" });
    } finally {
      queue.shift();
      queue[0]?.();
    }
  }) as LockManager["request"];

  /** The locks that are held. */
  get names(): string[] {
    return [...this.#queues].filter(([, queue]) => queue.length > 0).map(([name]) => name);
  }
}
