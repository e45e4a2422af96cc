/** Signing in, users, keys. */

import { del, get, patch, post } from "./http";
import type { Session } from "./types";

export interface User {
  name: string;
  admin: boolean;
  weight: number;
  password: boolean;
  oidc: boolean;
  keys: number;
  created_at: number;
}

export const SCOPES = ["read", "chat", "bulk", "admin"] as const;
export type Scope = (typeof SCOPES)[number];

export interface Key {
  id: string;
  user: string;
  hint: string;
  label: string;
  scopes: Scope[];
  /** "good", or why it opens nothing. */
  state: string;
  created_at: number;
  used_at: number | null;
  expires_at: number | null;
  revoked_at: number | null;
}

export const signIn = (user: string, password: string): Promise<Session> => post("/v1/session", { user, password });
export const firstStart = (user: string, password: string, setup_code: string): Promise<Session> =>
  post("/v1/session/first", { user, password, setup_code });
export const changePassword = (old: string, fresh: string): Promise<unknown> => post("/v1/session/password", { old, new: fresh });

export const listUsers = async (): Promise<User[]> => (await get<{ data: User[] }>("/v1/users")).data;
export const createUser = (body: { name: string; password?: string; admin?: boolean }): Promise<User> => post("/v1/users", body);
export const updateUser = (name: string, body: { password?: string; admin?: boolean; weight?: number }): Promise<User> =>
  patch(`/v1/users/${encodeURIComponent(name)}`, body);
export const deleteUser = (name: string): Promise<unknown> => del(`/v1/users/${encodeURIComponent(name)}`);

export const listKeys = async (): Promise<Key[]> => (await get<{ data: Key[] }>("/v1/keys")).data;
export const createKey = (body: { label: string; scopes: Scope[]; expires_in?: number; user?: string }): Promise<Key & { secret: string }> =>
  post("/v1/keys", body);
export const revokeKey = (id: string): Promise<Key> => del(`/v1/keys/${encodeURIComponent(id)}`);
