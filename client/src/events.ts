/** Events for an application: delivered in order, never inside the step that caused them. */

type Listener<T> = (event: T) => void;

/** Listeners by type of event, and what they have not been told yet. */
export class Emitter<Events> {
  readonly #listeners = new Map<keyof Events, Set<{ readonly call: Listener<never> }>>();
  readonly #posted: (() => void)[] = [];
  #isDelivering = false;

  /** Adds a listener; answers what removes it. */
  on<K extends keyof Events>(type: K, listener: Listener<Events[K]>): () => void {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners);
    // An object of its own, so that a function that was added twice is told twice and removed once.
    const entry = { call: listener };
    listeners.add(entry);
    return () => void listeners.delete(entry);
  }

  /** Queues an event. */
  post<K extends keyof Events>(type: K, event: Events[K]): void {
    this.#posted.push(() => {
      for (const { call } of [...(this.#listeners.get(type) ?? [])]) {
        try {
          (call as Listener<Events[K]>)(event);
        } catch (error) {
          report(error);
        }
      }
    });
  }

  /** Delivers what is queued. Called by a listener it does nothing: what was posted meanwhile comes behind the rest. */
  flush(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    for (let at = 0; at < this.#posted.length; at++) this.#posted[at]?.();
    this.#posted.length = 0;
    this.#isDelivering = false;
  }
}

/** A listener's error is the application's: it ends up where uncaught ones do, and does not break the client. */
function report(error: unknown): void {
  if (typeof reportError === "function") reportError(error);
  else
    queueMicrotask(() => {
      throw error;
    });
}
