/** The rows of an open chat, from its end upwards. */

import { type JSX, Show, createEffect, on, onMount } from "solid-js";
import { t } from "../../i18n";
import { Button, IconButton } from "../../parts/Button";
import { createFollow } from "../../parts/follow";
import { VirtualList } from "../../parts/VirtualList";
import { type Acts, Message } from "./Message";
import type { Thread } from "./thread";

/** Pixels of a row that has not been seen yet: a few lines. */
const ROW = 120;
/** Earlier messages are loaded when less than this many screens of them are left above. */
const AHEAD = 2;

export function Messages(props: { thread: Thread; acts: Acts }): JSX.Element {
  let place!: HTMLElement;
  const follow = createFollow(() => place);
  const scrolled = (): void => {
    follow.scrolled();
    if (!follow.atEnd() && place.scrollTop < AHEAD * place.clientHeight) void props.thread.loadEarlier();
  };
  // Before the rows are measured, so that those at the end are the first to be drawn.
  onMount(follow.toEnd);
  createEffect(on(() => props.thread.rows(), follow.resized, { defer: true }));
  createEffect(on(() => props.thread.asked(), follow.toEnd, { defer: true }));
  return (
    <div class="messages">
      <VirtualList
        class="messages-list"
        role="region"
        label={t("chat.messages")}
        place={(element) => (place = element)}
        data={props.thread.rows()}
        itemSize={ROW}
        anchored
        onScroll={scrolled}
        onResize={follow.resized}
      >
        {(row, index) => (
          <div class="read">
            <Show when={index() === 0 && props.thread.hasEarlier()}>
              <div class="earlier">
                <Button small kind="quiet" busy={props.thread.loadingEarlier()} onClick={() => void props.thread.loadEarlier()}>
                  {t("chat.earlier")}
                </Button>
              </div>
            </Show>
            <Message row={row} thread={props.thread} acts={props.acts} last={index() >= props.thread.rows().length - 1} />
          </div>
        )}
      </VirtualList>
      <Show when={!follow.atEnd()}>
        <IconButton kind="plain" class="round to-end" icon="down" label={t("chat.toEnd")} onClick={follow.toEnd} />
      </Show>
    </div>
  );
}
