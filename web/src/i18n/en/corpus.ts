import type { Text } from "..";

export default {
  "corpus.title": "Corpus",
} satisfies Record<string, Text>;
