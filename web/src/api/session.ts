/** Who sits before this page. */

import { createSignal } from "solid-js";
import { ApiError, get, setSignedOut } from "./http";
import type { Session } from "./types";

const OPEN: Session = { mode: "open", signed_in: true, user: "local", admin: true, oidc: null };
const [session, setSession] = createSignal<Session>();

/** Undefined until the server has said. */
export { session };

/** Asks the server who this is. Throws ApiError where it cannot be reached. */
export async function loadSession(): Promise<Session> {
  let found: Session;
  try {
    found = await get<Session>("/v1/session");
  } catch (error) {
    // A server that keeps no sessions: everybody who reaches it is its one user.
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    found = OPEN;
  }
  setSignedOut(false);
  setSession(found);
  return found;
}

/** Whether the screens may be shown. */
export function inside(found: Session): boolean {
  return found.mode === "open" || found.signed_in;
}
