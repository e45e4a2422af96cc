/** A long list of which only what is seen is in the page. */

import { type Accessor, type JSX } from "solid-js";
import { VList, type VListHandle } from "virtua/solid";

export type ListHandle = VListHandle;

export interface VirtualListProps<T> {
  data: readonly T[];
  children: (item: T, index: Accessor<number>) => JSX.Element;
  class?: string;
  /** Pixels of a row before it has been measured. */
  itemSize?: number;
  /** True while items are put in at the start: what is seen stays where it is. */
  shift?: boolean;
  label?: string;
  role?: "region";
  /** Called when less than a screen is left below. */
  onNearEnd?: () => void;
  onScroll?: (offset: number) => void;
  /** The place, or what is in it, has changed its size. */
  onResize?: () => void;
  ref?: (handle: ListHandle | undefined) => void;
}

export function VirtualList<T>(props: VirtualListProps<T>): JSX.Element {
  let handle: ListHandle | undefined;
  return (
    <VList
      ref={(given) => {
        handle = given;
        props.ref?.(given);
      }}
      class={props.class}
      data={props.data}
      itemSize={props.itemSize}
      shift={props.shift}
      role={props.role}
      tabindex={props.role === "region" ? 0 : undefined}
      aria-label={props.label}
      onResize={() => props.onResize?.()}
      onScroll={(offset) => {
        props.onScroll?.(offset);
        if (handle && offset + 2 * handle.viewportSize > handle.scrollSize) props.onNearEnd?.();
      }}
    >
      {props.children}
    </VList>
  );
}
