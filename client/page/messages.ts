/** The messages between this page and the server, for people who want to see the protocol at work. */

import { byId, make } from "./dom.ts";

const KEPT_MAX = 100;
const TEXT_SHOWN_MAX = 400;

interface Frame {
  readonly number: number;
  readonly time: Date;
  readonly direction: "in" | "out";
  readonly text: string;
}

/** A panel over the last messages. While it is closed, it only keeps them as they came. */
export class MessagesPanel {
  readonly #panel = byId("messages", HTMLElement);
  readonly #list = byId("messages-list", HTMLOListElement);
  readonly #toggle = byId("messages-toggle", HTMLButtonElement);
  readonly #pause = byId("messages-pause", HTMLButtonElement);
  #frames: Frame[] = [];
  #count = 0;
  #isPaused = false;
  #isScheduled = false;

  constructor() {
    this.#toggle.addEventListener("click", () => this.toggle());
    this.#pause.addEventListener("click", () => this.#setPaused(!this.#isPaused));
    byId("messages-clear", HTMLButtonElement).addEventListener("click", () => {
      this.#frames = [];
      this.#list.replaceChildren();
    });
    byId("messages-close", HTMLButtonElement).addEventListener("click", () => this.toggle());
    this.#panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        this.toggle();
      }
    });
  }

  /** Keeps a message, and shows it if the panel is open. While it is paused, messages pass by. */
  add(direction: "in" | "out", text: string): void {
    if (this.#isPaused) {
      return;
    }
    this.#count += 1;
    this.#frames.push({ number: this.#count, time: new Date(), direction, text });
    if (this.#frames.length > KEPT_MAX) {
      this.#frames.shift();
    }
    if (!this.#panel.hidden && !this.#isScheduled) {
      this.#isScheduled = true;
      requestAnimationFrame(() => this.#show());
    }
  }

  /** Opens or closes the panel. */
  toggle(): void {
    const isOpen = this.#panel.hidden;
    this.#panel.hidden = !isOpen;
    this.#toggle.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) {
      this.#show();
      this.#list.scrollTop = this.#list.scrollHeight;
      this.#pause.focus();
    } else {
      this.#list.replaceChildren();
      this.#toggle.focus();
    }
  }

  #setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused;
    this.#pause.textContent = isPaused ? "Resume" : "Pause";
  }

  /** Takes lines away and adds lines, so that what is open stays open. */
  #show(): void {
    this.#isScheduled = false;
    if (this.#panel.hidden) {
      return;
    }
    const list = this.#list;
    const isAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const first = this.#frames[0]?.number ?? 0;
    while (list.firstElementChild instanceof HTMLElement && Number(list.firstElementChild.dataset.number) < first) {
      list.firstElementChild.remove();
    }
    const last = list.lastElementChild instanceof HTMLElement ? Number(list.lastElementChild.dataset.number) : 0;
    list.append(...this.#frames.filter((frame) => frame.number > last).map(line));
    if (isAtEnd) {
      list.scrollTop = list.scrollHeight;
    }
  }
}

function line(frame: Frame): HTMLLIElement {
  const value = withoutSecrets(frame.text);
  const item = make("li", "message");
  item.dataset.direction = frame.direction;
  item.dataset.number = String(frame.number);
  const details = make("details");
  const summary = make("summary");
  const arrow = make("span", "message-arrow", frame.direction === "in" ? "↓" : "↑");
  arrow.setAttribute("role", "img");
  arrow.setAttribute("aria-label", frame.direction === "in" ? "received" : "sent");
  const time = make("time", "message-time", timeOfDay(frame.time));
  time.dateTime = frame.time.toISOString();
  const { type, fields } = salient(value);
  summary.append(arrow, time, make("b", "message-type", type), make("span", "message-fields", fields));
  const body = make("pre", "message-body");
  // Written only when somebody looks: a message may be a megabyte.
  details.addEventListener("toggle", () => {
    if (details.open && body.textContent === "") {
      body.textContent = JSON.stringify(value, shortened, 2);
    }
  });
  details.append(summary, body);
  item.append(details);
  return item;
}

function timeOfDay(time: Date): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const milliseconds = String(time.getMilliseconds()).padStart(3, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${milliseconds}`;
}

/** The message as a value, without what must not be read over a shoulder; its length if it is not JSON. */
function withoutSecrets(text: string): unknown {
  try {
    return JSON.parse(text, (key, value: unknown) => (key === "client_secret" ? "••••••" : value));
  } catch {
    return `not JSON, ${text.length} characters`;
  }
}

function shortened(_key: string, value: unknown): unknown {
  if (typeof value !== "string" || value.length <= TEXT_SHOWN_MAX) {
    return value;
  }
  return `${value.slice(0, TEXT_SHOWN_MAX)}… (${value.length.toLocaleString("en")} UTF-16 units in all)`;
}

type Fields = Readonly<Record<string, unknown>>;

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const NUMBERS: readonly (readonly [field: string, label: string])[] = [
  ["client_msg_id", "msg "],
  ["last_seen_server_seq", "last seen #"],
  ["attempt", "attempt "],
  ["nonce", "nonce "],
  ["count", "count "],
];

function salient(value: unknown): { readonly type: string; readonly fields: string } {
  if (!isFields(value)) {
    return { type: "unreadable", fields: String(value) };
  }
  const fields: string[] = [];
  if (value.server_seq !== undefined) {
    fields.push(`#${String(value.server_seq)}`);
  }
  if (isFields(value.op)) {
    fields.push(inShort(value.op));
  }
  for (const [field, label] of NUMBERS) {
    if (value[field] !== undefined && !(field === "count" && value[field] === 1)) {
      fields.push(`${label}${String(value[field])}`);
    }
  }
  for (const field of ["code", "retry", "follows", "durability"]) {
    if (typeof value[field] === "string") {
      fields.push(value[field]);
    }
  }
  if (typeof value.parts === "number" && value.parts > 1) {
    fields.push(`part ${String(value.part)} of ${value.parts}`);
  }
  return { type: typeof value.type === "string" ? value.type : "unknown", fields: fields.join(" · ") };
}

function inShort(op: Fields): string {
  switch (op.type) {
    case "ins": {
      const text = String(op.value);
      return text.length > 24 ? `ins ${text.length.toLocaleString("en")} units` : `ins ${JSON.stringify(text)}`;
    }
    case "del":
      return `del ${String(op.len ?? 1)}`;
    case "batch":
      return `batch of ${Array.isArray(op.ops) ? op.ops.length : 0}`;
    default:
      return String(op.type);
  }
}
