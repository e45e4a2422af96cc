import type { Text } from "..";

export default {
  "signin.title": "Sign in",
  "signin.user": "Name",
  "signin.password": "Password",
  "signin.newPassword": "New password",
  "signin.enter": "Sign in",
  "signin.with": "Sign in with {name}",
  "signin.or": "or with a password",
  "signin.wrong": "Name or password is wrong.",
  "signin.firstTitle": "Welcome to Hubbub",
  "signin.firstText": "This server is new. Make its first admin; more users come later.",
  "signin.code": "Setup code",
  "signin.codeHint": "Printed where the server was started.",
  "signin.wrongCode": "The setup code is wrong. Look where the server was started.",
  "signin.begin": "Begin",
} satisfies Record<string, Text>;
