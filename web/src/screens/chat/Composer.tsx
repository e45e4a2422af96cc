/** The box to write in, with its button: send, or stop. */

import { type JSX, Show, createEffect, createSignal, on, onMount } from "solid-js";
import { t } from "../../i18n";
import { IconButton } from "../../parts/Button";
import { places } from "../../shell/Shortcuts";
import { draft, keepDraft } from "../../state/drafts";

/** Where the browser does not make a box as high as its text, we do; to measure it, all of the page is laid out. */
const GROWS = CSS.supports("field-sizing", "content");
const TOUCH = window.matchMedia("(hover: none) and (pointer: coarse)");

export interface ComposerProps {
  /** Whose draft it holds. */
  chat: string;
  busy: boolean;
  sending?: boolean;
  /** Resolves when the question is accepted; the draft is kept otherwise. */
  onSend: (text: string) => Promise<boolean>;
  onStop?: () => void;
  /** Arrow up in an empty box. */
  onEditLast?: () => void;
  children?: JSX.Element;
}

export function Composer(props: ComposerProps): JSX.Element {
  let area!: HTMLTextAreaElement;
  const [text, setText] = createSignal(draft(props.chat));
  const type = (value: string): void => {
    setText(value);
    keepDraft(props.chat, value);
  };
  createEffect(on(() => props.chat, (chat) => setText(draft(chat)), { defer: true }));
  createEffect(() => {
    text();
    if (GROWS) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  });
  onMount(() => {
    places.compose = () => area.focus();
    if (!TOUCH.matches) area.focus();
  });

  const send = async (): Promise<void> => {
    const said = text().trim();
    if (!said || props.busy || props.sending) return;
    const whole = text();
    type("");
    // What was typed meanwhile is not lost to a refusal.
    if (!(await props.onSend(said))) type(text() ? `${whole}\n${text()}` : whole);
  };
  const pressed = (event: KeyboardEvent): void => {
    if (event.isComposing) return;
    const plain = !event.shiftKey && !event.altKey && !event.ctrlKey && !event.metaKey;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey || (plain && !TOUCH.matches))) {
      event.preventDefault();
      void send();
    } else if (event.key === "Escape" && plain && props.busy) {
      event.preventDefault();
      props.onStop?.();
    } else if (event.key === "ArrowUp" && plain && !text() && props.onEditLast) {
      event.preventDefault();
      props.onEditLast();
    }
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
    >
      <textarea
        ref={area}
        rows={1}
        placeholder={t("chat.placeholder")}
        aria-label={t("chat.message")}
        value={text()}
        onInput={(event) => type(event.currentTarget.value)}
        onKeyDown={pressed}
      />
      <div class="composer-foot">
        <div class="row grow">{props.children}</div>
        <Show
          when={props.busy && props.onStop}
          fallback={
            <IconButton
              type="submit"
              kind="primary"
              icon="send"
              class="round"
              label={t("chat.send")}
              busy={props.sending ?? false}
              disabled={!text().trim() || props.busy}
            />
          }
        >
          <IconButton kind="primary" icon="stop" class="round" label={t("chat.stop")} onClick={() => props.onStop?.()} />
        </Show>
      </div>
    </form>
  );
}
