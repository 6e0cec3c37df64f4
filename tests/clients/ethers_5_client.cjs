// Everything that a user of ethers 5 does.
//
// usage: ethers_5_client.cjs URL WS_URL KEY CHAIN_ID book|london
// Prints what went wrong with each check as one line of JSON.
const { ethers } = require("ethers-5");
const { NO_LONDON, PAYEE, contract, equal, holds, refused, run } = require("./checks.cjs");

const [url, wsUrl, key, chainId, rules] = process.argv.slice(2);
const isLondon = rules === "london";
const provider = new ethers.providers.JsonRpcProvider(url);
provider.pollingInterval = 200;
const wallet = new ethers.Wallet(key, provider);
const gasPrice = ethers.utils.parseUnits("50", "gwei");
const byLondon = { maxFeePerGas: gasPrice, maxPriorityFeePerGas: gasPrice.div(50), type: 2 };
let made;

async function mined(sending) {
    const receipt = await (await sending).wait();
    equal(receipt.status, 1);
    return receipt;
}

async function signed(fields) {
    const nonce = await wallet.getTransactionCount();
    return wallet.signTransaction({ nonce, to: PAYEE, value: 1, gasLimit: 21000, gasPrice, ...fields });
}

const pay = (fields) => wallet.sendTransaction({ to: PAYEE, value: 1, ...fields });

run({
    async connects() {
        equal((await provider.getNetwork()).chainId, Number(chainId));
        equal(await provider.send("net_version", []), chainId);
    },
    async reads() {
        const block = await provider.getBlockWithTransactions("latest");
        equal((await provider.getBlock(block.hash)).number, block.number);
        equal(block.baseFeePerGas !== undefined && block.baseFeePerGas !== null, isLondon);
        holds((await wallet.getBalance()).gt(0));
        holds((await provider.getGasPrice()).gte(1e9));
        equal(await provider.getCode(PAYEE), "0x");
    },
    async sends_with_chain_id() {
        const sent = await provider.sendTransaction(await signed({ chainId: Number(chainId) }));
        await mined(sent);
        const found = await provider.getTransaction(sent.hash);
        equal(found.chainId, Number(chainId));
        equal(found.from, wallet.address);
    },
    async sends_without_chain_id() {
        const sent = await provider.sendTransaction(await signed());
        holds([27, 28].includes(sent.v), sent);
        await mined(sent);
    },
    async sends_with_default_fees() {
        equal((await mined(pay())).type, isLondon ? 2 : 0);
    },
    async sends_by_londons_rules() {
        if (isLondon) equal((await mined(pay(byLondon))).type, 2);
        else await refused(async () => provider.sendTransaction(await signed({ ...byLondon, gasPrice: undefined, chainId: Number(chainId) })), ...NO_LONDON);
    },
    async does_not_find_what_was_not_sent() {
        equal(await provider.getTransaction(`0x${"77".repeat(32)}`), null);
        equal(await provider.getTransactionReceipt(`0x${"77".repeat(32)}`), null);
    },
    async deploys_with_default_fees() {
        made = await new ethers.ContractFactory(contract.abi, contract.bytecode, wallet).deploy();
        await made.deployed();
        equal((await made.deployTransaction.wait()).contractAddress, made.address);
    },
    async calls() {
        holds((await made.get()).eq(42));
        equal(Number(await provider.getStorageAt(made.address, 0)), 42);
    },
    async explains_a_revert() {
        // The book's rules are older than the opcode.
        await refused(() => made.fail(), isLondon ? "not now" : "invalid opcode: REVERT");
    },
    async sends_two_at_once() {
        const nonce = await wallet.getTransactionCount();
        const sent = [await pay(), await pay()];
        equal(sent.map((one) => one.nonce).join(), [nonce, nonce + 1].join());
        await Promise.all(sent.map(mined));
    },
    async reads_logs() {
        const receipt = await mined(made.set(7));
        equal(receipt.events[0].args.value.toNumber(), 7);
        const found = await made.queryFilter(made.filters.Set(wallet.address), 0);
        equal(found.length, 1);
        equal(found[0].transactionHash, receipt.transactionHash);
        holds((await made.get()).eq(7));
    },
    async hears_logs() {
        for (const [place, value] of [[new ethers.providers.WebSocketProvider(wsUrl), 8], [provider, 9]]) {
            const heard = new Promise((done) => made.connect(place).once("Set", (...args) => done(args)));
            // The subscription is on its way.
            await place.getBlockNumber();
            await mined(made.set(value));
            const [by, seen] = await heard;
            equal(by, wallet.address);
            equal(seen.toNumber(), value);
        }
    },
});
