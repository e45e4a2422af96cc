/** Keys: a new one is shown once, with a button to copy it; those there are can be taken back. */

import { For, type JSX, Show, createSignal } from "solid-js";
import { words } from "../../api/http";
import { type Key, SCOPES, type Scope, changePassword, createKey, revokeKey } from "../../api/members";
import { session } from "../../api/session";
import { t, when } from "../../i18n";
import { Button } from "../../parts/Button";
import { Confirm } from "../../parts/Confirm";
import { Dialog } from "../../parts/Dialog";
import { Field } from "../../parts/Field";
import { Icon } from "../../parts/Icon";
import { Panel } from "../../parts/Panel";
import { EmptyState, ErrorNote } from "../../parts/States";
import { toast } from "../../parts/Toast";
import { DAY_S, PASSWORD_LENGTH } from "./rules";

export function Keys(props: { keys: readonly Key[]; onChanged: () => void }): JSX.Element {
  const [making, setMaking] = createSignal(false);
  const [password, setPassword] = createSignal(false);
  const [taking, setTaking] = createSignal<Key>();
  const [busy, setBusy] = createSignal(false);
  const revoke = async (key: Key): Promise<void> => {
    setBusy(true);
    try {
      await revokeKey(key.id);
      props.onChanged();
    } catch (error) {
      toast({ text: words(error), bad: true });
    } finally {
      setBusy(false);
      setTaking(undefined);
    }
  };
  const admin = (): boolean => session()?.admin ?? false;
  return (
    <Panel
      title={t("keys.keys")}
      aside={
        <div class="row">
          <Button small onClick={() => setPassword(true)}>
            {t("keys.password")}
          </Button>
          <Button small kind="primary" icon="plus" onClick={() => setMaking(true)}>
            {t("keys.new")}
          </Button>
        </div>
      }
    >
      <Show when={props.keys.length > 0} fallback={<EmptyState icon="key" title={t("keys.none")} text={t("keys.noneText")} />}>
        <div class="table-wrap">
          <table class="table">
            <thead>
              <tr>
                <th>{t("keys.label")}</th>
                <Show when={admin()}>
                  <th>{t("keys.user")}</th>
                </Show>
                <th>{t("keys.may")}</th>
                <th>{t("keys.used")}</th>
                <th>{t("keys.until")}</th>
                <th>
                  <span class="visually-hidden">{t("keys.actions")}</span>
                </th>
              </tr>
            </thead>
            <tbody>
              <For each={props.keys}>
                {(key) => (
                  <tr classList={{ "keys-dead": key.state !== "good" }}>
                    <td>
                      <div>{key.label || t("keys.noLabel")}</div>
                      <code class="soft">{key.hint}…</code>
                    </td>
                    <Show when={admin()}>
                      <td>{key.user}</td>
                    </Show>
                    <td>
                      <span class="row wrap">
                        <For each={key.scopes}>{(scope) => <span class="badge">{t(`keys.scope.${scope}`)}</span>}</For>
                      </span>
                    </td>
                    <td class="numbers">{key.used_at === null ? t("keys.never") : when(key.used_at)}</td>
                    <td class="numbers">{key.revoked_at !== null ? t("keys.revoked") : key.expires_at === null ? t("keys.forever") : when(key.expires_at)}</td>
                    <td class="number">
                      <Show when={key.state === "good"}>
                        <Button small kind="quiet" icon="trash" onClick={() => setTaking(key)}>
                          {t("keys.revoke")}
                        </Button>
                      </Show>
                    </td>
                  </tr>
                )}
              </For>
            </tbody>
          </table>
        </div>
      </Show>
      <NewKey open={making()} onClose={() => setMaking(false)} onMade={props.onChanged} />
      <NewPassword open={password()} onClose={() => setPassword(false)} />
      <Confirm
        open={taking() !== undefined}
        title={t("keys.revokeTitle", { name: taking()?.label || `${taking()?.hint ?? ""}…` })}
        text={t("keys.revokeText")}
        action={t("keys.revoke")}
        danger
        busy={busy()}
        onClose={() => setTaking(undefined)}
        onConfirm={() => taking() && void revoke(taking()!)}
      />
    </Panel>
  );
}

const LIVES: readonly [days: number, label: "keys.days" | "keys.forever"][] = [
  [0, "keys.forever"],
  [30, "keys.days"],
  [90, "keys.days"],
  [365, "keys.days"],
];

function NewKey(props: { open: boolean; onClose: () => void; onMade: () => void }): JSX.Element {
  const [label, setLabel] = createSignal("");
  const [scopes, setScopes] = createSignal<readonly Scope[]>(["chat", "bulk"]);
  const [days, setDays] = createSignal(0);
  const [secret, setSecret] = createSignal("");
  const [busy, setBusy] = createSignal(false);
  const [failed, setFailed] = createSignal<unknown>();
  const close = (): void => {
    setSecret("");
    setLabel("");
    setFailed(undefined);
    props.onClose();
  };
  const make = async (): Promise<void> => {
    setBusy(true);
    setFailed(undefined);
    try {
      const made = await createKey({ label: label().trim(), scopes: [...scopes()], ...(days() ? { expires_in: days() * DAY_S } : {}) });
      setSecret(made.secret);
      props.onMade();
    } catch (error) {
      setFailed(error);
    } finally {
      setBusy(false);
    }
  };
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(secret());
    toast({ text: t("common.copied") });
  };
  return (
    <Dialog
      open={props.open}
      onClose={close}
      title={secret() ? t("keys.made") : t("keys.new")}
      {...(secret() ? {} : { description: t("keys.newText") })}
      foot={
        <Show
          when={secret()}
          fallback={
            <>
              <Button onClick={close}>{t("common.cancel")}</Button>
              <Button kind="primary" busy={busy()} disabled={scopes().length === 0} onClick={() => void make()}>
                {t("keys.make")}
              </Button>
            </>
          }
        >
          <Button kind="primary" onClick={close}>
            {t("keys.kept")}
          </Button>
        </Show>
      }
    >
      <Show
        when={secret()}
        fallback={
          <div class="stack">
            <Field label={t("keys.label")} hint={t("keys.labelHint")}>
              {(tie) => <input {...tie} class="input" maxlength="200" value={label()} onInput={(event) => setLabel(event.currentTarget.value)} />}
            </Field>
            <fieldset class="keys-scopes">
              <legend>{t("keys.may")}</legend>
              <For each={SCOPES.filter((scope) => scope !== "admin" || session()?.admin)}>
                {(scope) => (
                  <label class="row">
                    <input
                      type="checkbox"
                      checked={scopes().includes(scope)}
                      onChange={(event) => setScopes(event.currentTarget.checked ? [...scopes(), scope] : scopes().filter((one) => one !== scope))}
                    />
                    <span>
                      {t(`keys.scope.${scope}`)} <span class="soft small">{t(`keys.scopeText.${scope}`)}</span>
                    </span>
                  </label>
                )}
              </For>
            </fieldset>
            <Field label={t("keys.until")}>
              {(tie) => (
                <select {...tie} class="input" onChange={(event) => setDays(Number(event.currentTarget.value))}>
                  <For each={LIVES}>
                    {([count, text]) => (
                      <option value={count} selected={count === days()}>
                        {t(text, { n: count })}
                      </option>
                    )}
                  </For>
                </select>
              )}
            </Field>
            <Show when={failed()}>
              <ErrorNote error={failed()} />
            </Show>
          </div>
        }
      >
        <div class="stack">
          <div class="note warn">
            <Icon name="warning" />
            <div class="note-text">{t("keys.once")}</div>
          </div>
          <div class="keys-secret">
            <input class="input" readonly value={secret()} aria-label={t("keys.secret")} onFocus={(event) => event.currentTarget.select()} />
            <Button icon="copy" onClick={() => void copy()}>
              {t("common.copy")}
            </Button>
          </div>
        </div>
      </Show>
    </Dialog>
  );
}

function NewPassword(props: { open: boolean; onClose: () => void }): JSX.Element {
  const [old, setOld] = createSignal("");
  const [fresh, setFresh] = createSignal("");
  const [busy, setBusy] = createSignal(false);
  const [failed, setFailed] = createSignal<unknown>();
  const close = (): void => {
    setOld("");
    setFresh("");
    setFailed(undefined);
    props.onClose();
  };
  const change = async (): Promise<void> => {
    setBusy(true);
    setFailed(undefined);
    try {
      await changePassword(old(), fresh());
      toast({ text: t("keys.passwordChanged") });
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
      title={t("keys.password")}
      foot={
        <>
          <Button onClick={close}>{t("common.cancel")}</Button>
          <Button kind="primary" busy={busy()} disabled={!old() || fresh().length < PASSWORD_LENGTH} onClick={() => void change()}>
            {t("common.save")}
          </Button>
        </>
      }
    >
      <div class="stack">
        <Field label={t("keys.oldPassword")}>
          {(tie) => <input {...tie} class="input" type="password" autocomplete="current-password" value={old()} onInput={(event) => setOld(event.currentTarget.value)} />}
        </Field>
        <Field label={t("signin.newPassword")} hint={t("keys.passwordRule", { n: PASSWORD_LENGTH })}>
          {(tie) => <input {...tie} class="input" type="password" autocomplete="new-password" value={fresh()} onInput={(event) => setFresh(event.currentTarget.value)} />}
        </Field>
        <Show when={failed()}>
          <ErrorNote error={failed()} />
        </Show>
      </div>
    </Dialog>
  );
}
