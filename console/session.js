/* Who is signed in, and what the person has chosen. The access token is in sessionStorage: it ends
 * with the tab, and as it is no cookie, no other site can use it. */

const CREDENTIALS = "token.credentials";
const CHOICES = "token.choices";

/* self, site, groups and models are the answers of the API; they are there once signed in. */
export const session = {
  credentials: stored("sessionStorage", CREDENTIALS),
  self: null,
  site: null,
  groups: {},
  models: [],
};

/* user may be "". */
export function signIn(user, token) {
  session.credentials = { user, token };
  store("sessionStorage", CREDENTIALS, session.credentials);
}

export function signOut() {
  session.credentials = session.self = null;
  store("sessionStorage", CREDENTIALS, null);
}

/* What an access token can be: what may stand in a header. */
export const isAccessToken = (text) => /^[\x21-\x7e]+$/.test(text);

/* Signs in by a link, `#user=1&token=…`, and takes it out of the address and the history. The part
 * behind # is never sent to a server. Returns whether it was such a link. */
export function signInByLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  if (!link.has("token")) return false;
  history.replaceState(null, "", location.pathname);
  const [user, token] = [link.get("user") ?? "", link.get("token")];
  if (isAccessToken(token) && /^\d*$/.test(user)) signIn(user, token);
  return true;
}

export const isAdministrator = () => session.self.role >= 10;
export const isRoot = () => session.self.role >= 100;

/* ---- choices, kept for the next visit ---- */

export const choices = { language: null, unit: "units", pageSize: 20, ...stored("localStorage", CHOICES) };

export function choose(name, value) {
  choices[name] = value;
  store("localStorage", CHOICES, choices);
}

/* ---- the browser's storage, which may be forbidden: then what is in memory holds ---- */

function stored(storage, name) {
  try {
    return JSON.parse(window[storage].getItem(name));
  } catch {
    return null;
  }
}

function store(storage, name, value) {
  try {
    if (value === null) window[storage].removeItem(name);
    else window[storage].setItem(name, JSON.stringify(value));
  } catch {
    // forbidden or full
  }
}
