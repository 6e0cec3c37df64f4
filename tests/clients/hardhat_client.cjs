// Everything that a user of hardhat 2 does, without a compiler.
//
// usage: hardhat_client.cjs URL WS_URL KEY CHAIN_ID book|london
// Prints what went wrong with each check as one line of JSON.
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { NO_LONDON, PAYEE, contract, equal, holds, refused, run } = require("./checks.cjs");

const [url, , key, chainId, rules] = process.argv.slice(2);
const isLondon = rules === "london";
const gasPrice = "0xba43b7400";
const byLondon = { maxFeePerGas: gasPrice, maxPriorityFeePerGas: "0x3b9aca00" };
const selectors = { get: "0x6d4ce63c", set: "0x60fe47b1", fail: "0xa9cc4718" };

// It wants a project of its own, and asks about telemetry outside of CI.
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "hardhat-"));
process.on("exit", () => fs.rmSync(folder, { recursive: true }));
const networks = { real: { url, accounts: [key], chainId: Number(chainId) } };
const config = { solidity: "0.8.28", defaultNetwork: "real", networks };
fs.writeFileSync(path.join(folder, "hardhat.config.cjs"), `module.exports = ${JSON.stringify(config)}`);
process.chdir(folder);
process.env.HARDHAT_CONFIG = path.join(folder, "hardhat.config.cjs");
process.env.HARDHAT_DISABLE_TELEMETRY_PROMPT = "true";
const { network, run: task } = require("hardhat");
const request = (method, ...params) => network.provider.request({ method, params });
let from;
let made;

async function mined(sending) {
    const hash = await sending;
    for (;;) {
        const receipt = await request("eth_getTransactionReceipt", hash);
        if (receipt !== null) {
            equal(receipt.status, "0x1");
            return receipt;
        }
        await new Promise((done) => setTimeout(done, 200));
    }
}

const pay = (fields) => request("eth_sendTransaction", { from, to: PAYEE, value: "0x1", ...fields });
const word = (value) => value.toString(16).padStart(64, "0");
const set = (value) => request("eth_sendTransaction", { from, to: made, data: selectors.set + word(value) });
const call = (name) => request("eth_call", { from, to: made, data: selectors[name] }, "latest");

run({
    async connects() {
        equal(Number(await request("eth_chainId")), Number(chainId));
        [from] = await request("eth_accounts");
        await refused(() => request("hardhat_metadata"), "hardhat_metadata", "does not exist");
        await task("clean");
    },
    async reads() {
        const block = await request("eth_getBlockByNumber", "latest", false);
        equal(block.baseFeePerGas !== undefined, isLondon);
        holds(BigInt(await request("eth_getBalance", from, "latest")) > 0n);
    },
    async sends_with_default_fees() {
        equal((await mined(pay())).type, isLondon ? "0x2" : "0x0");
    },
    async sends_with_a_gas_price() {
        equal((await mined(pay({ gasPrice }))).type, "0x0");
    },
    async sends_by_londons_rules() {
        if (isLondon) equal((await mined(pay(byLondon))).type, "0x2");
        else await refused(() => pay({ ...byLondon, gas: "0x5208" }), ...NO_LONDON);
    },
    async deploys_with_default_fees() {
        const receipt = await mined(request("eth_sendTransaction", { from, data: contract.bytecode }));
        made = receipt.contractAddress;
        holds((await request("eth_getCode", made, "latest")).length > 2);
    },
    async calls() {
        equal(Number(await call("get")), 42);
    },
    async explains_a_revert() {
        // The book's rules are older than the opcode.
        await refused(() => call("fail"), isLondon ? "not now" : "invalid opcode: REVERT");
    },
    async sends_two_at_once() {
        const nonce = Number(await request("eth_getTransactionCount", from, "latest"));
        const sent = [await pay(), await pay()];
        await Promise.all(sent.map(mined));
        equal(Number(await request("eth_getTransactionCount", from, "latest")), nonce + 2);
    },
    async reads_logs() {
        const receipt = await mined(set(7));
        const found = await request("eth_getLogs", { address: made, fromBlock: "0x0" });
        equal(found.length, 1);
        equal(found[0].transactionHash, receipt.transactionHash);
        equal(Number(found[0].data), 7);
        equal(Number(await call("get")), 7);
    },
    async hears_logs() {
        const filter = await request("eth_newFilter", { address: made });
        const receipt = await mined(set(8));
        const heard = await request("eth_getFilterChanges", filter);
        equal(heard.map((log) => log.transactionHash).join(), receipt.transactionHash);
        equal(await request("eth_uninstallFilter", filter), true);
    },
});
