// A transfer and a contract, with today's ethers and the fees that it chooses itself.
//
// usage: ethers_6.cjs URL KEY TO
// Prints the receipts' parts as one line of JSON.
const { JsonRpcProvider, Wallet, parseEther } = require("ethers");

const [url, key, to] = process.argv.slice(2);
// Init code that stores 42 in slot 0 and leaves code that returns it.
const initCode = "0x602a600055600b6011600039600b6000f360005460005260206000f3";

async function main() {
    // Its cache of a quarter of a second would use the same nonce twice.
    const provider = new JsonRpcProvider(url, undefined, { cacheTimeout: -1 });
    provider.pollingInterval = 200;
    const wallet = new Wallet(key, provider);
    const transfer = await (await wallet.sendTransaction({ to, value: parseEther("1") })).wait();
    const creation = await (await wallet.sendTransaction({ data: initCode })).wait();
    const answer = await provider.call({ to: creation.contractAddress });
    console.log(
        JSON.stringify({
            chain_id: Number((await provider.getNetwork()).chainId),
            transfer: transfer.hash,
            transfer_status: transfer.status,
            type: transfer.type,
            creation: creation.hash,
            creation_status: creation.status,
            contract: creation.contractAddress,
            answer: Number(answer),
            block: creation.blockNumber,
        }),
    );
    provider.destroy();
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
