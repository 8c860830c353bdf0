/** Waiting in turns of the event loop: no clock is involved. */

/** Lets everything happen that can happen without time passing. */
export async function rest(turns = 30): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits until something is so; an error if it does not become so. */
export async function until(isSo: () => boolean): Promise<void> {
  for (let turn = 0; turn < 2000; turn++) {
    if (isSo()) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
  throw new Error(`never: ${isSo.toString()}`);
}
