import type { Text } from ".";

/** A dictionary with all keys of another. */
export type Full<T> = { [K in keyof T]: Text };
