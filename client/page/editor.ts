/** The editor: CodeMirror for plain text, bound to the client. */

import { defaultKeymap, history, historyKeymap, insertNewline } from "@codemirror/commands";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension, type TransactionSpec } from "@codemirror/state";
import { EditorView, highlightSpecialChars, keymap, placeholder } from "@codemirror/view";
import type { Client } from "../src/index.ts";
import { Binding, isRemote, wholeCharacters, withPlainBreaks } from "./binding.ts";
import { adoptEditorStyles } from "./styles.ts";

/** How long CodeMirror may take to read what an input method left in the DOM, in milliseconds. */
const COMPOSITION_SETTLES_MS = 60;

/** What the page does with its editor. */
export interface Editor {
  readonly view: EditorView;
  /** Lets the user write, or not. */
  setWritable(isWritable: boolean): void;
  /** Compares the whole texts, and makes the editor's that of the client if they should ever differ. */
  compare(): void;
}

const writable: Extension = [];
const readOnly: Extension = [EditorState.readOnly.of(true), EditorView.editable.of(false)];

/** Makes an editor for the client's text inside `parent`. It is read-only until it is told otherwise. */
export function createEditor(client: Client, parent: HTMLElement): Editor {
  adoptEditorStyles();
  const binding = new Binding(client);
  const access = new Compartment();
  /** Whether the client is being told of what was typed here: its echo of that is no news. */
  let isForwarding = false;
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: client.text,
      extensions: [
        EditorState.lineSeparator.of("\n"),
        wholeCharacters,
        plainText(client.doc),
        access.of(readOnly),
        EditorView.updateListener.of((update) => {
          for (const transaction of update.transactions) {
            if (transaction.docChanged && !transaction.annotation(isRemote)) {
              isForwarding = true;
              try {
                binding.forward(transaction.changes);
              } finally {
                isForwarding = false;
              }
              checkLengths();
            }
          }
        }),
      ],
    }),
  });
  const dispatch = (spec: TransactionSpec | undefined): void => {
    if (spec !== undefined) {
      view.dispatch(spec);
    }
  };
  const bringLevel = (): void => {
    if (!disturbsComposition(view, binding)) {
      dispatch(binding.takeLacking());
    }
  };
  const repair = (): void => {
    const spec = binding.repair(view.state.doc);
    if (spec !== undefined) {
      console.error("the editor's text had come apart from the client's, and was made equal again");
      dispatch(spec);
    }
  };
  const checkLengths = (): void => {
    if (!binding.isLevel(view.state.doc)) {
      repair();
    }
  };
  // Of others, and what a program told the client itself.
  client.on("change", ({ deltas }) => {
    if (!isForwarding) {
      binding.receive(deltas, view.state.doc);
      bringLevel();
      checkLengths();
    }
  });
  view.contentDOM.addEventListener("compositionend", () => setTimeout(bringLevel, COMPOSITION_SETTLES_MS));
  return {
    view,
    setWritable: (isWritable) => view.dispatch({ effects: access.reconfigure(isWritable ? writable : readOnly) }),
    compare: () => {
      if (binding.lacking === undefined) {
        repair();
      }
    },
  };
}

/**
 * Whether what the editor lacks would end what an input method is composing: its line is one piece of the DOM, and a
 * change of it takes the composed text away from under the input method.
 */
function disturbsComposition(view: EditorView, binding: Binding): boolean {
  if (!view.compositionStarted || binding.lacking === undefined) {
    return false;
  }
  const line = view.state.doc.lineAt(view.state.selection.main.head);
  return binding.lacking.touchesRange(line.from, line.to) !== false;
}

function plainText(doc: string): Extension {
  return [
    history(),
    search({ top: true }),
    highlightSelectionMatches({ minSelectionLength: 2 }),
    highlightSpecialChars(),
    placeholder("Write something…"),
    EditorView.lineWrapping,
    EditorView.clipboardInputFilter.of(withPlainBreaks),
    EditorView.contentAttributes.of({
      "aria-label": `Text of ${doc}`,
      "aria-multiline": "true",
      autocapitalize: "sentences",
      autocorrect: "on",
      spellcheck: "true",
    }),
    // Before the default, which indents, and for that eats white space, carriage returns included.
    keymap.of([
      { key: "Enter", run: insertNewline, shift: insertNewline },
      ...searchKeymap,
      ...historyKeymap,
      ...defaultKeymap,
    ]),
  ];
}
