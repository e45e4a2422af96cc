/** A long list of which only what is seen is in the page. */

import { type Accessor, type JSX, createMemo } from "solid-js";
import { Virtualizer, type VirtualizerHandle } from "virtua/solid";

export type ListHandle = VirtualizerHandle;

export interface VirtualListProps<T> {
  data: readonly T[];
  children: (item: T, index: Accessor<number>) => JSX.Element;
  class?: string;
  /** Pixels of a row before it has been measured. */
  itemSize?: number;
  /** What is seen stays where it is when rows come in above all others. Where rows come at the end, too, the end counts. */
  anchored?: boolean;
  label?: string;
  role?: "region";
  /** Called when less than a screen is left below. */
  onNearEnd?: () => void;
  onScroll?: () => void;
  /** The place, or what is in it, has changed its size; what has to move for that has moved. */
  onResize?: () => void;
  ref?: (handle: ListHandle | undefined) => void;
  /** What scrolls. */
  place?: (element: HTMLElement) => void;
}

export function VirtualList<T>(props: VirtualListProps<T>): JSX.Element {
  let handle: ListHandle | undefined;
  const grown = createMemo<{ data: readonly T[]; above: boolean }>(
    (before) => {
      const data = props.data;
      const more = before.data.length > 0 && data.length > before.data.length;
      return { data, above: more && data[0] !== before.data[0] && data.at(-1) === before.data.at(-1) };
    },
    { data: [], above: false },
  );
  return (
    <div
      ref={(element) => props.place?.(element)}
      class={`virtual ${props.class ?? ""}`}
      role={props.role}
      tabindex={props.role === "region" ? 0 : undefined}
      aria-label={props.label}
    >
      <Virtualizer
        ref={(given) => {
          handle = given;
          props.ref?.(given);
        }}
        data={grown().data}
        shift={(props.anchored ?? false) && grown().above}
        itemSize={props.itemSize}
        onResize={() => props.onResize?.()}
        onScroll={(offset) => {
          props.onScroll?.();
          if (handle && offset + 2 * handle.viewportSize > handle.scrollSize) props.onNearEnd?.();
        }}
      >
        {props.children}
      </Virtualizer>
    </div>
  );
}
