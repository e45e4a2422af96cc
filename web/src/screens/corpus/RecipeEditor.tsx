/** A recipe's text with its line numbers; lines with problems are marked, and each problem leads to its line. */

import { For, type JSX, Show, createMemo, createUniqueId } from "solid-js";
import type { RecipeProblem } from "../../api/corpora";
import { t } from "../../i18n";
import { Icon } from "../../parts/Icon";

const LINE_REM = 1.25;

export default function RecipeEditor(props: { value: string; problems: readonly RecipeProblem[]; onInput: (text: string) => void }): JSX.Element {
  let area!: HTMLTextAreaElement;
  let gutter!: HTMLDivElement;
  const id = createUniqueId();
  const lines = createMemo(() => props.value.split("\n").length);
  const bad = createMemo(() => new Set(props.problems.map((problem) => problem.line)));
  const numbers = createMemo(() => Array.from({ length: lines() }, (_, at) => at + 1));
  const goTo = (line: number): void => {
    const before = props.value.split("\n").slice(0, Math.max(0, line - 1));
    const start = before.join("\n").length + (before.length > 0 ? 1 : 0);
    const length = props.value.split("\n")[Math.max(0, line - 1)]?.length ?? 0;
    area.focus();
    area.setSelectionRange(start, start + length);
    area.scrollTop = Math.max(0, (line - 6) * LINE_REM * 16);
  };
  const typed = (event: KeyboardEvent): void => {
    // Tab leaves the box, as everywhere; Ctrl+Enter starts.
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) area.form?.requestSubmit();
  };
  return (
    <div class="editor-place">
      <div class="editor">
        <div class="editor-gutter" ref={gutter} aria-hidden="true">
          <For each={numbers()}>{(line) => <div classList={{ bad: bad().has(line) }}>{line}</div>}</For>
        </div>
        <textarea
          ref={area}
          class="editor-text"
          wrap="off"
          spellcheck={false}
          autocapitalize="off"
          autocomplete="off"
          aria-label={t("corpus.recipeText")}
          aria-invalid={props.problems.length > 0}
          aria-describedby={props.problems.length > 0 ? id : undefined}
          value={props.value}
          onInput={(event) => props.onInput(event.currentTarget.value)}
          onKeyDown={typed}
          onScroll={() => (gutter.scrollTop = area.scrollTop)}
        />
      </div>
      <Show when={props.problems.length > 0}>
        <ul class="editor-problems" id={id}>
          <For each={props.problems}>
            {(problem) => (
              <li>
                <button type="button" onClick={() => goTo(problem.line)}>
                  <Icon name="warning" />
                  <span>
                    <Show when={problem.line > 0}>
                      <strong class="numbers">{t("corpus.line", { n: String(problem.line) })}</strong>{" "}
                    </Show>
                    <Show when={problem.key}>
                      <code>{problem.key}</code>{" "}
                    </Show>
                    {problem.message}
                  </span>
                </button>
              </li>
            )}
          </For>
        </ul>
      </Show>
    </div>
  );
}
