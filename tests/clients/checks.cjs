// Named checks of a client, and the contract that they use.
const { inspect } = require("node:util");
const contract = require("./contract.json");

const LONGEST_MS = 180_000;
/// Who is paid.
const PAYEE = `0x${"77".repeat(20)}`;

/// Gives up on something that takes too long.
function within(promise) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not in ${LONGEST_MS} ms`)), LONGEST_MS);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/// Runs them in order; prints as one line of JSON what went wrong with each, or "ok".
async function run(checks) {
    const seen = {};
    for (const [name, check] of Object.entries(checks)) {
        try {
            await within(check());
            seen[name] = "ok";
        } catch (error) {
            seen[name] = inspect(error, { depth: 6 });
        }
    }
    console.log(JSON.stringify(seen));
    process.exit();
}

/// The action fails, and the error says all of these words.
async function refused(action, ...words) {
    let said;
    try {
        await action();
    } catch (error) {
        said = inspect(error, { depth: 6 });
    }
    if (said === undefined) throw new Error("it was not refused");
    const missing = words.filter((word) => !said.includes(word));
    if (missing.length) throw new Error(`${missing} is not in ${said}`);
}

function equal(seen, want) {
    if (seen !== want) throw new Error(`${inspect(seen)} and not ${inspect(want)}`);
}

function holds(claim, what) {
    if (!claim) throw new Error(`not so: ${inspect(what)}`);
}

/// What the node says to transactions that its chain does not know yet.
const NO_LONDON = ["London is not scheduled on this chain", "send gasPrice"];

module.exports = { NO_LONDON, PAYEE, contract, equal, holds, refused, run, within };
