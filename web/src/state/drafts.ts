/** What was typed and not sent, chat by chat; it outlives the page. */

const prefix = "hubbub.draft:";
/** Of a chat that does not exist yet. */
export const NEW = "new";

export function draft(chat: string): string {
  return localStorage.getItem(prefix + chat) ?? "";
}

export function keepDraft(chat: string, text: string): void {
  try {
    if (text) localStorage.setItem(prefix + chat, text);
    else localStorage.removeItem(prefix + chat);
  } catch {
    // The browser's store is full or forbidden: the text is still in its box.
  }
}
