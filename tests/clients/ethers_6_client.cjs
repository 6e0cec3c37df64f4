// Everything that a user of today's ethers does.
//
// usage: ethers_6_client.cjs URL WS_URL KEY CHAIN_ID book|london
// Prints what went wrong with each check as one line of JSON.
const { Contract, ContractFactory, JsonRpcProvider, Wallet, WebSocketProvider, parseUnits } = require("ethers");
const { NO_LONDON, PAYEE, contract, equal, holds, refused, run } = require("./checks.cjs");

const [url, wsUrl, key, chainId, rules] = process.argv.slice(2);
const isLondon = rules === "london";
// Its cache of a quarter of a second would use the same nonce twice.
const provider = new JsonRpcProvider(url, undefined, { cacheTimeout: -1 });
provider.pollingInterval = 200;
const wallet = new Wallet(key, provider);
const gasPrice = parseUnits("50", "gwei");
const byLondon = { maxFeePerGas: gasPrice, maxPriorityFeePerGas: gasPrice / 50n, type: 2 };
let made;

async function mined(sending) {
    const receipt = await (await sending).wait();
    equal(receipt.status, 1);
    return receipt;
}

async function signed(fields) {
    const nonce = await wallet.getNonce();
    return wallet.signTransaction({ nonce, to: PAYEE, value: 1, gasLimit: 21000, gasPrice, type: 0, ...fields });
}

const pay = (fields) => wallet.sendTransaction({ to: PAYEE, value: 1, ...fields });

run({
    async connects() {
        equal((await provider.getNetwork()).chainId, BigInt(chainId));
        equal(await provider.send("net_version", []), chainId);
    },
    async reads() {
        const block = await provider.getBlock("latest", true);
        equal((await provider.getBlock(block.hash)).number, block.number);
        equal(block.baseFeePerGas !== null, isLondon);
        holds((await provider.getBalance(wallet.address)) > 0n);
        const fees = await provider.getFeeData();
        holds(fees.gasPrice >= 10n ** 9n, fees);
        equal(fees.maxFeePerGas !== null, isLondon);
        equal(await provider.getCode(PAYEE), "0x");
    },
    async sends_with_chain_id() {
        const sent = await provider.broadcastTransaction(await signed({ chainId }));
        await mined(sent);
        const found = await provider.getTransaction(sent.hash);
        equal(found.chainId, BigInt(chainId));
        equal(found.from, wallet.address);
    },
    async sends_without_chain_id() {
        const sent = await provider.broadcastTransaction(await signed());
        await mined(sent);
        equal((await provider.getTransaction(sent.hash)).signature.legacyChainId, null);
    },
    async sends_with_default_fees() {
        equal((await mined(pay())).type, isLondon ? 2 : 0);
    },
    async sends_by_londons_rules() {
        if (isLondon) equal((await mined(pay(byLondon))).type, 2);
        else await refused(async () => provider.broadcastTransaction(await signed({ ...byLondon, gasPrice: undefined, chainId })), ...NO_LONDON);
    },
    async does_not_find_what_was_not_sent() {
        equal(await provider.getTransaction(`0x${"77".repeat(32)}`), null);
        equal(await provider.getTransactionReceipt(`0x${"77".repeat(32)}`), null);
    },
    async deploys_with_default_fees() {
        made = await new ContractFactory(contract.abi, contract.bytecode, wallet).deploy();
        await made.waitForDeployment();
        equal((await made.deploymentTransaction().wait()).contractAddress, await made.getAddress());
    },
    async calls() {
        equal(await made.get(), 42n);
        equal(BigInt(await provider.getStorage(made, 0)), 42n);
    },
    async explains_a_revert() {
        // The book's rules are older than the opcode.
        await refused(() => made.fail(), isLondon ? "not now" : "invalid opcode: REVERT");
    },
    async sends_two_at_once() {
        const nonce = await wallet.getNonce();
        const sent = [await pay(), await pay()];
        equal(sent.map((one) => one.nonce).join(), [nonce, nonce + 1].join());
        await Promise.all(sent.map(mined));
    },
    async reads_logs() {
        const receipt = await mined(made.set(7));
        equal(receipt.logs[0].args.value, 7n);
        const found = await made.queryFilter(made.filters.Set(wallet.address), 0);
        equal(found.length, 1);
        equal(found[0].transactionHash, receipt.hash);
        equal(await made.get(), 7n);
    },
    async hears_logs() {
        for (const [place, value] of [[new WebSocketProvider(wsUrl), 8n], [provider, 9n]]) {
            const there = new Contract(await made.getAddress(), contract.abi, place);
            let done;
            const heard = new Promise((resolve) => (done = resolve));
            await there.once("Set", (...args) => done(args));
            // The subscription is on its way.
            await place.getBlockNumber();
            await mined(made.set(value));
            const [by, seen] = await heard;
            equal(by, wallet.address);
            equal(seen, value);
        }
    },
});
