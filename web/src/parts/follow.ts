/**
 * Keeps a reader who is at the end of a scrolled place at its end.
 *
 * Rows are measured late and texts grow, so the end is not where it was a moment ago, and the browser tells of scrolling
 * only afterwards. The rule: whoever is at the end is put there again whenever a size has changed (`resized`). All that
 * grows is answered so before the next scroll event, and nothing but the reader moves upwards then: that alone leaves the
 * end. The reader who comes down again to near it is at the end again.
 */

import { type Accessor, createSignal } from "solid-js";

/** How far from the end still counts as being there, in pixels. */
const NEAR = 80;
/** Positions are fractions of pixels. */
const ROUND = 1;

/** What of an element is looked at. */
export type Place = Pick<HTMLElement, "scrollTop" | "scrollHeight" | "clientHeight">;

export interface Follow {
  /** Whether the end is in sight, or being kept in sight. */
  atEnd: Accessor<boolean>;
  toEnd: () => void;
  /** The place has been scrolled, by whomever. */
  scrolled: () => void;
  /** The place, or what is in it, has another size. */
  resized: () => void;
}

export function createFollow(place: () => Place | undefined): Follow {
  const [atEnd, setAtEnd] = createSignal(true);
  let following = true;
  let seen = 0;

  const gap = (now: Place): number => now.scrollHeight - now.scrollTop - now.clientHeight;
  const look = (now: Place): void => {
    seen = now.scrollTop;
    setAtEnd(following || gap(now) <= NEAR);
  };
  const resized = (): void => {
    const now = place();
    if (!now) return;
    if (following && gap(now) > ROUND) now.scrollTop = now.scrollHeight;
    look(now);
  };
  const scrolled = (): void => {
    const now = place();
    if (!now) return;
    if (gap(now) <= ROUND) following = true;
    else if (now.scrollTop < seen - ROUND) following = false;
    else if (now.scrollTop > seen && gap(now) <= NEAR) following = true;
    resized();
  };
  const toEnd = (): void => {
    following = true;
    resized();
  };
  return { atEnd, toEnd, scrolled, resized };
}
