/* The language of the page: the person's choice, or the browser's, or English. */

import { choices, choose } from "./session.js";
import { words } from "./words.js";

export const languages = Object.keys(words);

let present = "en";

export const language = () => present;

/* The one after the present one. */
export const nextLanguage = () => languages[(languages.indexOf(language()) + 1) % languages.length];

export function setLanguage(name) {
  choose("language", name);
  applyLanguage();
}

export function applyLanguage() {
  const wanted = [choices.language, ...navigator.languages.map((tag) => tag.split("-")[0])];
  present = wanted.find((name) => languages.includes(name)) ?? "en";
  document.documentElement.lang = words[language()].tag;
}

/* The text of a word, with values in the place of {names}. A text with "|" has a form for one and a form
 * for other numbers n. */
export function t(word, values = {}) {
  const text = words[language()][word] ?? word;
  const [one, other = one] = text.split("|");
  const form = Number(values.n) === 1 ? one : other;
  return form.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const has = (word) => word in words[language()];

/* What to tell of an error: for the API's codes by their word, in which {message} is the server's text. */
export function errorText(error) {
  if (error.code === undefined) console.error(error); // of this program
  const isImport = error instanceof TypeError && /module/.test(error.message); // a file was not loaded
  const word = `error_${isImport ? "offline" : error.code}`;
  return has(word) ? t(word, { message: error.message }) : error.message;
}
