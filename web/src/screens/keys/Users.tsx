/** Users, for admins: add one, set a password, make an admin, delete. */

import { For, type JSX, Show, createResource, createSignal } from "solid-js";
import { words } from "../../api/http";
import { type User, createUser, deleteUser, listUsers, updateUser } from "../../api/members";
import { session } from "../../api/session";
import { t } from "../../i18n";
import { Button } from "../../parts/Button";
import { Confirm } from "../../parts/Confirm";
import { Dialog } from "../../parts/Dialog";
import { Field } from "../../parts/Field";
import { Menu, MenuItem, MenuLine } from "../../parts/Menu";
import { Panel } from "../../parts/Panel";
import { ErrorNote, Spinner } from "../../parts/States";
import { toast } from "../../parts/Toast";
import { NAME, PASSWORD_LENGTH } from "./rules";

export function Users(): JSX.Element {
  const [users, { refetch }] = createResource(listUsers);
  const [adding, setAdding] = createSignal(false);
  const [setting, setSetting] = createSignal<User>();
  const [removing, setRemoving] = createSignal<User>();
  const act = async (what: () => Promise<unknown>): Promise<void> => {
    try {
      await what();
    } catch (error) {
      toast({ text: words(error), bad: true });
    }
    setRemoving(undefined);
    void refetch();
  };
  return (
    <Panel
      title={t("keys.users")}
      aside={
        <Button small icon="plus" onClick={() => setAdding(true)}>
          {t("keys.addUser")}
        </Button>
      }
    >
      <Show when={users.error}>
        <ErrorNote error={users.error} onRetry={() => void refetch()} />
      </Show>
      <Show when={!users.error && users.latest} fallback={<Show when={!users.error}>{<Spinner />}</Show>}>
        {(list) => (
          <ul class="keys-users">
            <For each={list()}>
              {(user) => (
                <li class="row">
                  <span class="keys-face" aria-hidden="true">
                    {user.name.slice(0, 1).toUpperCase()}
                  </span>
                  <span class="grow">
                    <span class="row">
                      <strong class="cut">{user.name}</strong>
                      <Show when={user.admin}>
                        <span class="badge">{t("keys.admin")}</span>
                      </Show>
                      <Show when={user.name === session()?.user}>
                        <span class="badge">{t("keys.you")}</span>
                      </Show>
                    </span>
                    <span class="soft small">
                      {[user.password ? t("keys.byPassword") : "", user.oidc ? t("keys.byProvider") : "", t("keys.count", { n: user.keys })].filter(Boolean).join(" · ")}
                    </span>
                  </span>
                  <Menu label={t("keys.userMenu", { name: user.name })}>
                    <MenuItem icon="key" onSelect={() => setSetting(user)}>
                      {t("keys.setPassword")}
                    </MenuItem>
                    <MenuItem icon="user" disabled={user.name === session()?.user} onSelect={() => void act(() => updateUser(user.name, { admin: !user.admin }))}>
                      {user.admin ? t("keys.unmakeAdmin") : t("keys.makeAdmin")}
                    </MenuItem>
                    <MenuLine />
                    <MenuItem icon="trash" danger disabled={user.name === session()?.user} onSelect={() => setRemoving(user)}>
                      {t("common.delete")}
                    </MenuItem>
                  </Menu>
                </li>
              )}
            </For>
          </ul>
        )}
      </Show>
      <UserDialog open={adding()} title={t("keys.addUser")} onClose={() => setAdding(false)} onDone={() => void refetch()} />
      <UserDialog open={setting() !== undefined} title={t("keys.setPasswordOf", { name: setting()?.name ?? "" })} user={setting()} onClose={() => setSetting(undefined)} onDone={() => void refetch()} />
      <Confirm
        open={removing() !== undefined}
        title={t("keys.deleteUser", { name: removing()?.name ?? "" })}
        text={t("keys.deleteUserText")}
        action={t("common.delete")}
        danger
        onClose={() => setRemoving(undefined)}
        onConfirm={() => removing() && void act(() => deleteUser(removing()!.name))}
      />
    </Panel>
  );
}

/** A new user; of one that is there, a new password. */
function UserDialog(props: { open: boolean; title: string; user?: User | undefined; onClose: () => void; onDone: () => void }): JSX.Element {
  const [name, setName] = createSignal("");
  const [password, setPassword] = createSignal("");
  const [admin, setAdmin] = createSignal(false);
  const [busy, setBusy] = createSignal(false);
  const [failed, setFailed] = createSignal<unknown>();
  const close = (): void => {
    setName("");
    setPassword("");
    setAdmin(false);
    setFailed(undefined);
    props.onClose();
  };
  const ready = (): boolean => password().length >= PASSWORD_LENGTH && (props.user !== undefined || NAME.test(name()));
  const save = async (): Promise<void> => {
    setBusy(true);
    setFailed(undefined);
    try {
      if (props.user) await updateUser(props.user.name, { password: password() });
      else await createUser({ name: name(), password: password(), admin: admin() });
      props.onDone();
      close();
    } catch (error) {
      setFailed(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog
      open={props.open}
      onClose={close}
      title={props.title}
      foot={
        <>
          <Button onClick={close}>{t("common.cancel")}</Button>
          <Button kind="primary" busy={busy()} disabled={!ready()} onClick={() => void save()}>
            {t("common.save")}
          </Button>
        </>
      }
    >
      <div class="stack">
        <Show when={!props.user}>
          <Field label={t("signin.user")} problem={name() && !NAME.test(name()) ? t("keys.nameRule") : null}>
            {(tie) => <input {...tie} class="input" autocapitalize="none" autocomplete="off" spellcheck={false} value={name()} onInput={(event) => setName(event.currentTarget.value.trim())} />}
          </Field>
        </Show>
        <Field label={t("signin.newPassword")} hint={t("keys.passwordRule", { n: PASSWORD_LENGTH })}>
          {(tie) => <input {...tie} class="input" type="password" autocomplete="new-password" value={password()} onInput={(event) => setPassword(event.currentTarget.value)} />}
        </Field>
        <Show when={!props.user}>
          <label class="row">
            <input type="checkbox" checked={admin()} onChange={(event) => setAdmin(event.currentTarget.checked)} />
            <span>
              {t("keys.admin")} <span class="soft small">{t("keys.adminText")}</span>
            </span>
          </label>
        </Show>
        <Show when={failed()}>
          <ErrorNote error={failed()} />
        </Show>
      </div>
    </Dialog>
  );
}
