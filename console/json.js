/* JSON with exact integers: quotas go up to 2^63 - 1, numbers of JavaScript only to 2^53. What does
 * not fit into a number is a BigInt, in both directions. */

export function parse(text) {
  return JSON.parse(text, (name, value, context) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context.source)
      ? BigInt(context.source)
      : value,
  );
}

export function stringify(value) {
  return JSON.stringify(value, (name, member) =>
    typeof member === "bigint" ? JSON.rawJSON(String(member)) : member,
  );
}
