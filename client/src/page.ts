/** What the page around a client goes through, as far as there is one. */

/** Whom the page tells. */
export interface PageListener {
  /** The network is back, or somebody looks at the page again. */
  woken(): void;
  /** The page is put aside, and may be shown again as it is. */
  frozen(): void;
  /** The page is gone for good. */
  gone(): void;
}

/** Listens to the page, where there is one; answers what ends that. */
export function watchPage(listener: PageListener): () => void {
  if (typeof addEventListener !== "function") return () => undefined;
  const end = new AbortController();
  const options = { signal: end.signal };
  addEventListener("online", () => listener.woken(), options);
  addEventListener("pageshow", ({ persisted }) => persisted && listener.woken(), options);
  /*
   * A page in the back/forward cache keeps its locks while it stands still, so nobody else writes under its identity,
   * and goes on with them when it is shown again; Chromium and Firefox do not even cache a page that holds one. If a
   * browser takes the locks away all the same, the store refuses to write from then on. An open connection is given up
   * first, since it would keep the page out of the cache or break unseen.
   */
  addEventListener("pagehide", ({ persisted }) => (persisted ? listener.frozen() : listener.gone()), options);
  if (typeof document !== "undefined") {
    const look = () => document.visibilityState === "visible" && listener.woken();
    document.addEventListener("visibilitychange", look, options);
  }
  return () => end.abort();
}
