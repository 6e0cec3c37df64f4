// What the page asks the node: JSON-RPC at the address that the page came from.

/** A node under load says so; a page that waits longer than this has lost it. */
const ANSWER_MAX = 15000;

let id = 0;

/** Asks several things at once. An answer that is an error is thrown, with the node's words. */
export async function batch(calls) {
  if (!calls.length) return [];
  const asked = calls.map(([method, ...params]) => ({ jsonrpc: "2.0", id: ++id, method, params }));
  const response = await fetch("/", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(asked),
    signal: AbortSignal.timeout(ANSWER_MAX),
  });
  if (!response.ok) throw new Error(`the node answers ${response.status}: ${(await response.text()).trim()}`);
  const answers = await response.json();
  if (!Array.isArray(answers)) throw new Error(answers.error?.message ?? "the node answers something else");
  const found = new Map(answers.map((answer) => [answer.id, answer]));
  return asked.map(({ id, method }) => {
    const answer = found.get(id);
    if (!answer) throw new Error(`${method}: no answer`);
    if (answer.error) throw new Refused(`${method}: ${answer.error.message}`);
    return answer.result;
  });
}

/** The node is there, and does not do what it was asked. */
export class Refused extends Error {}

export async function ask(...call) {
  return (await batch([call]))[0];
}

/** A quantity as a number of the exact kind, or null. */
export function quantity(hex) {
  return hex == null ? null : BigInt(hex);
}

export function count(hex) {
  return hex == null ? null : Number(BigInt(hex));
}
