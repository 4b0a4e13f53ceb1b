/* What a token's chips and bar say. */

import { NEVER, nowS } from "./format.js";

export const ENABLED = 1;
export const DISABLED = 2;
export const STATUSES = { 1: "enabled", 2: "disabled", 3: "expired", 4: "exhausted" };

/* What a token is called where its name alone would say nothing. */
export const nameOf = ({ name, id }) => name || `#${id}`;

const SOON_S = 86400;
const LOW_PART = 10n; // a tenth

/* The words of a token's chips: its status, or what soon will be its status. */
export function chips(token) {
  if (token.status !== ENABLED) return [STATUSES[token.status]];
  const warnings = [isExpiringSoon(token) && "soon", isLow(token) && "low"].filter(Boolean);
  return warnings.length > 0 ? warnings : ["enabled"];
}

const isExpiringSoon = ({ expired_time }) => expired_time !== NEVER && Number(expired_time) - nowS() < SOON_S;

const isLow = (token) => !token.unlimited_quota && BigInt(token.remain_quota) * LOW_PART < total(token);

/* What the quota that is left is a part of: a period's amount, or all that was ever given. */
export function total({ remain_quota, used_quota, refill_interval, refill_amount }) {
  const isRefilled = refill_interval && refill_interval !== "none";
  const all = isRefilled ? BigInt(refill_amount) : BigInt(remain_quota) + BigInt(used_quota);
  return all > BigInt(remain_quota) ? all : BigInt(remain_quota);
}
