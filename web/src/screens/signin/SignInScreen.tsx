/** The door: sign in, or make the first admin of a new server. It stands alone, without the sidebar. */

import "./signin.css";
import { useNavigate } from "@solidjs/router";
import { type JSX, Match, Show, Switch, createEffect, createSignal, onMount } from "solid-js";
import { ApiError } from "../../api/http";
import { firstStart, signIn } from "../../api/members";
import { inside, loadSession, session } from "../../api/session";
import { LANGUAGES, type Language, chooseLanguage, language, t } from "../../i18n";
import { Button, buttonClass } from "../../parts/Button";
import { Field } from "../../parts/Field";
import { Icon } from "../../parts/Icon";
import { ErrorNote } from "../../parts/States";
import { NAME, PASSWORD_LENGTH } from "../keys/rules";

export default function SignInScreen(): JSX.Element {
  const navigate = useNavigate();
  onMount(() => {
    document.title = `${t("signin.title")} · Hubbub`;
    // The session may have ended while the page was open.
    void loadSession().catch(() => undefined);
  });
  createEffect(() => {
    const who = session();
    if (who && inside(who)) navigate("/", { replace: true });
  });
  return (
    <main class="door">
      <div class="door-card">
        <img src="/icon.svg" alt="" width="48" height="48" />
        <Switch>
          <Match when={session()?.mode === "first_start"}>
            <First />
          </Match>
          <Match when={true}>
            <SignIn />
          </Match>
        </Switch>
      </div>
      <nav class="row small" aria-label={t("language.label")}>
        {(Object.keys(LANGUAGES) as Language[]).map((name) => (
          <Button small kind="quiet" lang={name} aria-pressed={language() === name} onClick={() => chooseLanguage(name)}>
            {LANGUAGES[name]}
          </Button>
        ))}
      </nav>
    </main>
  );
}

/** The first thing to be typed. */
const focused = (input: HTMLInputElement): void => queueMicrotask(() => input.focus());

function SignIn(): JSX.Element {
  const [user, setUser] = createSignal("");
  const [password, setPassword] = createSignal("");
  const sender = useSender(() => signIn(user().trim(), password()), wrong);
  return (
    <>
      <h1>{t("signin.title")}</h1>
      <Show when={session()?.oidc}>
        {(provider) => (
          <>
            <a class={buttonClass("plain", false, false, "door-wide")} href="/auth/oidc/start" rel="external">
              <Icon name="external" />
              {t("signin.with", { name: provider().name })}
            </a>
            <div class="door-or soft small">{t("signin.or")}</div>
          </>
        )}
      </Show>
      <form class="stack door-form" onSubmit={sender.submit}>
        <Field label={t("signin.user")}>
          {(tie) => (
            <input {...tie} class="input" name="username" autocomplete="username" autocapitalize="none" spellcheck={false} required ref={focused} value={user()} onInput={(event) => setUser(event.currentTarget.value)} />
          )}
        </Field>
        <Password label={t("signin.password")} autocomplete="current-password" value={password()} onInput={setPassword} />
        <Show when={sender.error()}>
          <ErrorNote error={sender.error()} />
        </Show>
        <Button type="submit" kind="primary" class="door-wide" busy={sender.busy()}>
          {t("signin.enter")}
        </Button>
      </form>
    </>
  );
}

function First(): JSX.Element {
  const [user, setUser] = createSignal("");
  const [password, setPassword] = createSignal("");
  const [code, setCode] = createSignal("");
  const [tried, setTried] = createSignal(false);
  const userProblem = (): string | null => (tried() && !NAME.test(user().trim()) ? t("keys.nameRule") : null);
  const passwordProblem = (): string | null => (tried() && password().length < PASSWORD_LENGTH ? t("keys.passwordRule", { n: PASSWORD_LENGTH }) : null);
  const sender = useSender(
    () => firstStart(user().trim(), password(), code().trim()),
    wrongCode,
    () => {
      setTried(true);
      return userProblem() === null && passwordProblem() === null;
    },
  );
  return (
    <>
      <h1>{t("signin.firstTitle")}</h1>
      <p class="soft">{t("signin.firstText")}</p>
      <form class="stack door-form" onSubmit={sender.submit} novalidate>
        <Field label={t("signin.code")} hint={t("signin.codeHint")}>
          {(tie) => <input {...tie} class="input door-code" autocomplete="one-time-code" spellcheck={false} ref={focused} value={code()} onInput={(event) => setCode(event.currentTarget.value)} />}
        </Field>
        <Field label={t("signin.user")} problem={userProblem()}>
          {(tie) => <input {...tie} class="input" name="username" autocomplete="username" autocapitalize="none" spellcheck={false} value={user()} onInput={(event) => setUser(event.currentTarget.value)} />}
        </Field>
        <Password label={t("signin.newPassword")} autocomplete="new-password" hint={t("keys.passwordRule", { n: PASSWORD_LENGTH })} problem={passwordProblem()} value={password()} onInput={setPassword} />
        <Show when={sender.error()}>
          <ErrorNote error={sender.error()} />
        </Show>
        <Button type="submit" kind="primary" class="door-wide" busy={sender.busy()}>
          {t("signin.begin")}
        </Button>
      </form>
    </>
  );
}

function Password(props: { label: string; autocomplete: string; hint?: string; problem?: string | null; value: string; onInput: (text: string) => void }): JSX.Element {
  return (
    <Field label={props.label} {...(props.hint ? { hint: props.hint } : {})} problem={props.problem ?? null}>
      {(tie) => (
        <input {...tie} class="input" type="password" name="password" required autocomplete={props.autocomplete} value={props.value} onInput={(event) => props.onInput(event.currentTarget.value)} />
      )}
    </Field>
  );
}

/** Sends a form once at a time; what came back is told by `tell`. */
function useSender(
  send: () => Promise<unknown>,
  tell: (error: ApiError) => string,
  ready: () => boolean = () => true,
): { submit: (event: SubmitEvent) => void; busy: () => boolean; error: () => unknown } {
  const [busy, setBusy] = createSignal(false);
  const [error, setError] = createSignal<unknown>();
  const run = async (): Promise<void> => {
    setBusy(true);
    setError(undefined);
    try {
      await send();
      await loadSession();
    } catch (failure) {
      setError(failure instanceof ApiError ? new Error(tell(failure)) : failure);
    } finally {
      setBusy(false);
    }
  };
  return {
    busy,
    error,
    submit: (event) => {
      event.preventDefault();
      if (ready()) void run();
    },
  };
}

const wrong = (error: ApiError): string => (error.status === 401 || error.status === 403 ? t("signin.wrong") : error.message);
const wrongCode = (error: ApiError): string => (error.status === 401 || error.status === 403 ? t("signin.wrongCode") : error.message);
