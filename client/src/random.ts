/** Random bits, as the inputs that the replica asks for. */

import type { Identity } from "./machine.ts";

/** A fresh identity: 128 random bits in the name and 128 in the secret, each as 32 hexadecimal digits. */
export function freshIdentity(): Identity {
  return { client: word(), secret: word() };
}

/** For the wait before coming back: 0 to 65535. */
export function jitter(): number {
  return crypto.getRandomValues(new Uint16Array(1))[0] ?? 0;
}

/** Not `randomUUID`, which insecure contexts lack. */
function word(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
