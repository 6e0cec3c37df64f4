// Everything that a user of viem does.
//
// usage: viem_client.cjs URL WS_URL KEY CHAIN_ID book|london
// Prints what went wrong with each check as one line of JSON.
const { createPublicClient, createWalletClient, defineChain, http, parseGwei, webSocket } = require("viem");
const { privateKeyToAccount } = require("viem/accounts");
const { NO_LONDON, PAYEE, contract, equal, holds, refused, run } = require("./checks.cjs");

const [url, wsUrl, key, chainId, rules] = process.argv.slice(2);
const isLondon = rules === "london";
const nativeCurrency = { name: "Ether", symbol: "ETH", decimals: 18 };
const chain = defineChain({ id: Number(chainId), name: rules, nativeCurrency, rpcUrls: { default: { http: [url] } } });
const account = privateKeyToAccount(key);
const reader = createPublicClient({ chain, transport: http(url, { batch: true }), pollingInterval: 200, cacheTime: 0 });
const wallet = createWalletClient({ account, chain, transport: http(url) });
const gasPrice = parseGwei("50");
const byLondon = { maxFeePerGas: gasPrice, maxPriorityFeePerGas: gasPrice / 50n };
const abi = contract.abi;
let address;

async function mined(sending) {
    const receipt = await reader.waitForTransactionReceipt({ hash: await sending });
    equal(receipt.status, "success");
    return receipt;
}

async function send(fields) {
    const nonce = await reader.getTransactionCount({ address: account.address });
    const transaction = { type: "legacy", nonce, to: PAYEE, value: 1n, gas: 21000n, gasPrice, ...fields };
    return reader.sendRawTransaction({ serializedTransaction: await account.signTransaction(transaction) });
}

const pay = (fields) => wallet.sendTransaction({ to: PAYEE, value: 1n, ...fields });
const set = (value) => wallet.writeContract({ address, abi, functionName: "set", args: [value] });
const get = () => reader.readContract({ address, abi, functionName: "get" });

run({
    async connects() {
        equal(await reader.getChainId(), Number(chainId));
        equal(await reader.request({ method: "net_version" }), chainId);
    },
    async reads() {
        const block = await reader.getBlock({ includeTransactions: true });
        equal((await reader.getBlock({ blockHash: block.hash })).number, block.number);
        equal(block.baseFeePerGas !== undefined && block.baseFeePerGas !== null, isLondon);
        holds((await reader.getBalance({ address: account.address })) > 0n);
        holds((await reader.getGasPrice()) >= 10n ** 9n);
        equal((await reader.getFeeHistory({ blockCount: 2, rewardPercentiles: [50] })).baseFeePerGas.length, 3);
        equal(await reader.getCode({ address: PAYEE }), undefined);
    },
    async sends_with_chain_id() {
        const hash = await send({ chainId: Number(chainId) });
        await mined(hash);
        const found = await reader.getTransaction({ hash });
        equal(found.chainId, Number(chainId));
        equal(found.from.toLowerCase(), account.address.toLowerCase());
    },
    async sends_without_chain_id() {
        const hash = await send();
        await mined(hash);
        holds([27n, 28n].includes((await reader.getTransaction({ hash })).v));
    },
    async sends_with_default_fees() {
        equal((await mined(pay())).type, isLondon ? "eip1559" : "legacy");
    },
    async sends_by_londons_rules() {
        if (isLondon) equal((await mined(pay(byLondon))).type, "eip1559");
        else await refused(() => send({ ...byLondon, type: "eip1559", gasPrice: undefined, chainId: Number(chainId) }), ...NO_LONDON);
    },
    async does_not_find_what_was_not_sent() {
        await refused(() => reader.getTransaction({ hash: `0x${"77".repeat(32)}` }), "TransactionNotFoundError");
    },
    async deploys_with_default_fees() {
        address = (await mined(wallet.deployContract({ abi, bytecode: contract.bytecode }))).contractAddress;
        holds((await reader.getCode({ address })).length > 2);
    },
    async calls() {
        equal(await get(), 42n);
        equal(BigInt(await reader.getStorageAt({ address, slot: "0x0" })), 42n);
    },
    async explains_a_revert() {
        // The book's rules are older than the opcode.
        const fail = () => reader.readContract({ address, abi, functionName: "fail" });
        await refused(fail, isLondon ? "not now" : "invalid opcode: REVERT");
    },
    async sends_two_at_once() {
        const nonce = await reader.getTransactionCount({ address: account.address });
        const sent = [await pay({ nonce }), await pay({ nonce: nonce + 1 })];
        equal(await reader.getTransactionCount({ address: account.address, blockTag: "pending" }), nonce + 2);
        await Promise.all(sent.map(mined));
    },
    async reads_logs() {
        const receipt = await mined(set(7n));
        const query = { address, abi, eventName: "Set", args: { by: account.address } };
        const found = await reader.getContractEvents({ ...query, fromBlock: 0n });
        equal(found.length, 1);
        equal(found[0].args.value, 7n);
        equal(found[0].transactionHash, receipt.transactionHash);
        equal(await get(), 7n);
    },
    async hears_logs() {
        const socket = createPublicClient({ chain, transport: webSocket(wsUrl) });
        for (const [place, value] of [[socket, 8n], [reader, 9n]]) {
            let stop;
            const heard = new Promise((done, failed) => {
                const events = { address, abi, eventName: "Set", onLogs: done, onError: failed };
                stop = place.watchContractEvent(events);
            });
            // The subscription is on its way.
            await place.getBlockNumber();
            await mined(set(value));
            equal((await heard)[0].args.value, value);
            stop();
        }
    },
});
