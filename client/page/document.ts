/** The page of one document: the editor, and what surrounds it. */

import { Client, openStore, type Store } from "../src/index.ts";
import { announce, byId, copyFor, make, showView } from "./dom.ts";
import { createEditor, type Editor } from "./editor.ts";
import { MessagesPanel } from "./messages.ts";
import { whatIsWrong } from "./names.ts";
import { remember } from "./recent.ts";
import { showRefused } from "./refused.ts";
import { connectionNews, connectionWords, endWords, savingWords } from "./words.ts";

declare global {
  interface Window {
    /** For the console. */
    collab?: { readonly client: Client; readonly view: Editor["view"] };
  }
}

/** Shows a document, or says why there cannot be one of this name. */
export async function showDocument(name: string): Promise<void> {
  const wrong = whatIsWrong(name);
  if (wrong !== undefined) {
    showView("invalid-view");
    byId("invalid-name", HTMLElement).textContent = name;
    byId("invalid-reason", HTMLElement).textContent = wrong;
    document.title = "No such name – collab-engine";
    return;
  }
  showView("document-view");
  byId("doc-name", HTMLElement).textContent = name;
  document.title = name;
  remember(name);
  const store = await openStore();
  const url = new URL("/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  new DocumentPage(new Client({ url, doc: name, ...(store && { store }) }), store).listen();
}

class DocumentPage {
  readonly #client: Client;
  readonly #editor: Editor;
  readonly #messages = new MessagesPanel();
  /** Whether pending edits survive a reload. */
  #isStored: boolean;
  /** What went wrong on this side, for people. */
  readonly #warnings: string[] = [];
  #wasJoined = false;
  #isRefreshing = false;
  #warnsBeforeUnload = false;

  constructor(client: Client, store: Store | undefined) {
    this.#client = client;
    this.#isStored = store !== undefined;
    this.#editor = createEditor(client, byId("editor", HTMLElement));
    window.collab = { client, view: this.#editor.view };
  }

  listen(): void {
    const client = this.#client;
    client.on("status", () => this.#onStatus());
    client.on("change", () => this.#refreshSoon());
    client.on("pending", () => this.#refreshSoon());
    client.on("refused", showRefused);
    client.on("persistence", ({ reason }) => {
      this.#isStored = false;
      this.#warn(`This browser cannot keep your edits over a reload (${reason}). Stay until all changes are saved.`);
    });
    client.on("unreadable", ({ reason }) => {
      this.#warn(`Edits of an earlier visit cannot be read (${reason}). They are left where they are.`);
    });
    client.on("message", ({ direction, text }) => {
      this.#messages.add(direction, text);
      this.#refreshSoon();
    });
    byId("reconnect", HTMLButtonElement).addEventListener("click", () => client.reconnect());
    byId("share", HTMLButtonElement).addEventListener("click", () => {
      void copyFor(byId("share-label", HTMLElement), location.origin + location.pathname);
    });
    byId("download", HTMLButtonElement).addEventListener("click", () => download(client.doc, client.text));
    const help = byId("help", HTMLDialogElement);
    byId("help-toggle", HTMLButtonElement).addEventListener("click", () => help.showModal());
    document.addEventListener("keydown", (event) => {
      // By the key's place: with Alt held, its character depends on the layout.
      if (event.altKey && event.shiftKey && !event.ctrlKey && !event.metaKey && event.code === "KeyM") {
        event.preventDefault();
        this.#messages.toggle();
      }
    });
    this.#onStatus();
  }

  #onStatus(): void {
    const { status } = this.#client;
    const news = connectionNews(status, this.#wasJoined);
    if (news !== "") {
      announce(news);
    }
    if (status.state === "live") {
      this.#editor.compare();
      if (!this.#wasJoined) {
        this.#wasJoined = true;
        this.#editor.setWritable(true);
        this.#editor.view.focus();
      }
    }
    if (status.state === "ended") {
      this.#editor.setWritable(false);
    }
    this.#refresh();
  }

  #warn(warning: string): void {
    this.#warnings.push(warning);
    announce(warning);
    this.#refreshSoon();
  }

  /** Many things change in one step; the page is written once behind it. */
  #refreshSoon(): void {
    if (!this.#isRefreshing) {
      this.#isRefreshing = true;
      queueMicrotask(() => this.#refresh());
    }
  }

  #refresh(): void {
    this.#isRefreshing = false;
    const { status, unsaved, durability, serverSeq, clientId, doc } = this.#client;
    const connection = byId("connection", HTMLElement);
    connection.dataset.state = status.state;
    setText(byId("connection-words", HTMLElement), connectionWords(status));
    const saving = byId("unsaved", HTMLElement);
    saving.dataset.count = String(unsaved);
    saving.dataset.atRisk = String(unsaved > 0 && status.state !== "live" && !this.#isStored);
    setText(
      saving,
      this.#wasJoined || unsaved > 0 ? savingWords({ status, unsaved, durability, isStored: this.#isStored }) : "",
    );
    const seq = byId("server-seq", HTMLElement);
    seq.dataset.seq = String(serverSeq);
    setText(seq, `#${serverSeq.toLocaleString("en")}`);
    byId("reconnect", HTMLElement).hidden = status.state !== "offline";
    document.title = unsaved > 0 ? `• ${doc}` : doc;
    this.#showNotice();
    showMe(clientId);
    this.#warnBeforeUnload(unsaved > 0);
  }

  #showNotice(): void {
    const { status } = this.#client;
    const notice = byId("notice", HTMLElement);
    const lines = [...this.#warnings];
    if (status.state === "ended") {
      lines.push(`Read-only. ${endWords(status.reason)}`);
    } else if (!this.#wasJoined) {
      const isUnreachable = status.state === "offline";
      lines.push(isUnreachable ? "The server cannot be reached. You can write once it is." : "Opening the document…");
    }
    notice.dataset.kind = status.state === "ended" || this.#warnings.length > 0 ? "problem" : "opening";
    notice.hidden = lines.length === 0;
    setText(notice, lines.join(" "));
  }

  /** Only while something would be at stake: a listener that is always there keeps pages out of the back cache. */
  #warnBeforeUnload(isAtStake: boolean): void {
    if (isAtStake !== this.#warnsBeforeUnload) {
      this.#warnsBeforeUnload = isAtStake;
      const change = isAtStake ? window.addEventListener : window.removeEventListener;
      change.call(window, "beforeunload", warn);
    }
  }
}

function warn(event: Event): void {
  event.preventDefault();
}

function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

const HUES = ["red", "orange", "yellow", "green", "teal", "blue", "violet", "pink"];

function showMe(clientId: string): void {
  const me = byId("me", HTMLElement);
  if (me.dataset.client === clientId) {
    return;
  }
  me.dataset.client = clientId;
  let sum = 0;
  for (const unit of clientId) {
    sum = (sum * 31 + (unit.codePointAt(0) ?? 0)) % 360;
  }
  me.style.setProperty("--hue", String(sum));
  const hue = HUES[Math.floor(sum / 45)] ?? "grey";
  me.setAttribute("aria-label", `You are the ${hue} writer, ${clientId}`);
  me.title = `You: ${clientId}`;
}

function download(name: string, text: string): void {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = `${name}.txt`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
