import type { Full } from "../full";
import type en from "../en/signin";

export default {
  "signin.title": "Вход",
  "signin.user": "Имя",
  "signin.password": "Пароль",
  "signin.newPassword": "Новый пароль",
  "signin.enter": "Войти",
  "signin.with": "Войти через {name}",
  "signin.or": "или с паролем",
  "signin.wrong": "Неверное имя или пароль.",
  "signin.firstTitle": "Добро пожаловать в Hubbub",
  "signin.firstText": "Сервер новый. Создайте первого администратора; других пользователей можно добавить потом.",
  "signin.code": "Код установки",
  "signin.codeHint": "Напечатан там, где запускали сервер.",
  "signin.wrongCode": "Код установки неверен. Посмотрите там, где запускали сервер.",
  "signin.begin": "Начать",
} satisfies Full<typeof en>;
