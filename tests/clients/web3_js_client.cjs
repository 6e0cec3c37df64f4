// Everything that a user of web3.js 1 or 4 does.
//
// usage: web3_js_client.cjs 1|4 URL WS_URL KEY CHAIN_ID book|london
// Prints what went wrong with each check as one line of JSON.
const { NO_LONDON, PAYEE, contract, equal, holds, refused, run } = require("./checks.cjs");

const [version, url, wsUrl, key, chainId, rules] = process.argv.slice(2);
const module_ = require(`web3-${version}`);
const Web3 = module_.Web3 ?? module_;
const isLondon = rules === "london";
const isOld = version === "1";
const web3 = new Web3(url);
const account = web3.eth.accounts.wallet.add(key);
const from = account.address ?? account[0].address;
const gasPrice = "50000000000";
const byLondon = { maxFeePerGas: gasPrice, maxPriorityFeePerGas: "1000000000", type: "0x2" };
// The fees of web3.js 4 are for London's rules only.
const fees = isLondon || isOld ? {} : { gasPrice };
let made;

async function mined(sending) {
    const receipt = await sending;
    equal(Number(receipt.status), 1);
    return receipt;
}

async function signed(fields) {
    const nonce = Number(await web3.eth.getTransactionCount(from));
    const transaction = { from, nonce, to: PAYEE, value: 1, gas: 21000, gasPrice, chainId: Number(chainId), ...fields };
    return (await web3.eth.accounts.signTransaction(transaction, key)).rawTransaction;
}

const pay = (fields) => web3.eth.sendTransaction({ from, to: PAYEE, value: 1, gas: 21000, ...fields });
const set = (value) => made.methods.set(value).send({ from, gas: 100000, ...fees });

run({
    async connects() {
        equal(Number(await web3.eth.getChainId()), Number(chainId));
        equal(Number(await web3.eth.net.getId()), Number(chainId));
        equal(typeof (await web3.eth.net.isListening()), "boolean");
        holds((await web3.eth.getNodeInfo()).includes("/"));
    },
    async reads() {
        const block = await web3.eth.getBlock("latest", true);
        equal((await web3.eth.getBlock(block.hash)).number, block.number);
        equal(block.baseFeePerGas !== undefined && block.baseFeePerGas !== null, isLondon);
        holds(BigInt(await web3.eth.getBalance(from)) > 0n);
        holds(BigInt(await web3.eth.getGasPrice()) >= 10n ** 9n);
        equal((await web3.eth.getFeeHistory(2, "latest", [50])).baseFeePerGas.length, 3);
        equal(await web3.eth.getCode(PAYEE), "0x");
    },
    async sends_with_chain_id() {
        const receipt = await mined(web3.eth.sendSignedTransaction(await signed()));
        const found = await web3.eth.getTransaction(receipt.transactionHash);
        holds([35n, 36n].includes(BigInt(found.v) - 2n * BigInt(chainId)), found);
        equal(found.from.toLowerCase(), from.toLowerCase());
    },
    async sends_with_default_fees() {
        if (isLondon || isOld) await mined(pay());
        else await refused(() => pay(), "eip-1559");
    },
    async sends_by_londons_rules() {
        if (isLondon) equal(Number((await mined(pay(byLondon))).type), 2);
        else {
            const raw = await signed({ ...byLondon, gasPrice: undefined });
            await refused(() => web3.eth.sendSignedTransaction(raw), ...NO_LONDON);
        }
    },
    async does_not_find_what_was_not_sent() {
        const hash = `0x${"77".repeat(32)}`;
        if (isOld) equal(await web3.eth.getTransaction(hash), null);
        else await refused(() => web3.eth.getTransaction(hash), "Transaction not found");
    },
    async deploys() {
        const factory = new web3.eth.Contract(contract.abi);
        made = await factory.deploy({ data: contract.bytecode }).send({ from, gas: 500000, ...fees });
        const code = await web3.eth.getCode(made.options.address);
        holds(code.length > 2);
    },
    async calls() {
        equal(Number(await made.methods.get().call()), 42);
        equal(Number(await web3.eth.getStorageAt(made.options.address, 0)), 42);
        equal(Number(await made.methods.set(43).estimateGas({ from })) > 21000, true);
    },
    async explains_a_revert() {
        // The book's rules are older than the opcode.
        await refused(() => made.methods.fail().call(), isLondon ? "not now" : "invalid opcode: REVERT");
    },
    async sends_two_at_once() {
        const nonce = Number(await web3.eth.getTransactionCount(from));
        const raw = [await signed({ nonce }), await signed({ nonce: nonce + 1 })];
        await Promise.all(raw.map((one) => mined(web3.eth.sendSignedTransaction(one))));
        equal(Number(await web3.eth.getTransactionCount(from)), nonce + 2);
    },
    async reads_logs() {
        const receipt = await mined(set(7));
        equal(Number(receipt.events.Set.returnValues.value), 7);
        const found = await made.getPastEvents("Set", { filter: { by: from }, fromBlock: 0 });
        equal(found.length, 1);
        equal(found[0].transactionHash, receipt.transactionHash);
        equal(Number(await made.methods.get().call()), 7);
    },
    async hears_logs() {
        const socket = new Web3(wsUrl);
        const there = new socket.eth.Contract(contract.abi, made.options.address);
        const events = there.events.Set({});
        const heard = new Promise((done) => events.on("data", done));
        // The subscription is on its way.
        await new Promise((done) => events.on("connected", done));
        await mined(set(8));
        equal(Number((await heard).returnValues.value), 8);
    },
});
