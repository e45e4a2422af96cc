/** What the server takes as a name and as a password, told before it has to refuse. */

export const NAME = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$/;
export const PASSWORD_LENGTH = 10;
export const DAY_S = 86_400;
