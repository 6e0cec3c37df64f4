// Everything that a user of the console of real geth does, with an account that the node unlocked.
//
// Needs `contract`, `chainId` and `rules` to be defined. Logs what went wrong with each check as one
// line of JSON.
var isLondon = rules === "london";
var payee = "0x7777777777777777777777777777777777777777";
var from = eth.accounts[0];
var made;

function equal(seen, want) {
    if (seen !== want) throw new Error(JSON.stringify(seen) + " and not " + JSON.stringify(want));
}

function holds(claim, what) {
    if (!claim) throw new Error("not so: " + JSON.stringify(what));
}

function refused(action, words) {
    var said;
    try {
        action();
    } catch (error) {
        said = String(error);
    }
    if (said === undefined) throw new Error("it was not refused");
    words.forEach(function (word) {
        if (said.indexOf(word) < 0) throw new Error(word + " is not in " + said);
    });
}

function mined(hash) {
    for (var tries = 0; tries < 900; tries++) {
        var receipt = eth.getTransactionReceipt(hash);
        if (receipt !== null) {
            equal(receipt.status, "0x1");
            return receipt;
        }
        admin.sleep(0.2);
    }
    throw new Error("not mined: " + hash);
}

function request(method, params) {
    var answer = web3.currentProvider.send({ jsonrpc: "2.0", id: 1, method: method, params: params });
    if (answer.error) throw new Error(answer.error.message);
    return answer.result;
}

function pay(fields) {
    var transaction = { from: from, to: payee, value: "0x1" };
    for (var name in fields) transaction[name] = fields[name];
    return request("eth_sendTransaction", [transaction]);
}

var checks = {
    connects: function () {
        equal(net.version, chainId);
        holds(web3.version.node.indexOf("/") > 0, web3.version.node);
        equal(admin.nodeInfo.name, web3.version.node);
        equal(admin.peers.length, 0);
    },
    reads: function () {
        var block = eth.getBlock("latest", true);
        equal(eth.getBlock(block.hash).number, block.number);
        equal(block.baseFeePerGas !== undefined, isLondon);
        holds(eth.getBalance(from).gt(0));
        holds(eth.gasPrice.gte(1e9));
        equal(eth.getCode(payee), "0x");
        equal(txpool.status.queued, 0);
    },
    sends_with_default_fees: function () {
        var receipt = mined(eth.sendTransaction({ from: from, to: payee, value: 1 }));
        equal(eth.getTransaction(receipt.transactionHash).type, isLondon ? "0x2" : "0x0");
    },
    sends_with_a_gas_price: function () {
        mined(eth.sendTransaction({ from: from, to: payee, value: 1, gasPrice: web3.toWei(50, "gwei") }));
    },
    sends_by_londons_rules: function () {
        var fields = { maxFeePerGas: "0xba43b7400", maxPriorityFeePerGas: "0x3b9aca00" };
        if (isLondon) equal(mined(pay(fields)).type, "0x2");
        else refused(pay.bind(null, fields), ["London", "gasPrice"]);
    },
    deploys: function () {
        made = mined(eth.sendTransaction({ from: from, data: contract.bytecode, gas: 500000 })).contractAddress;
        holds(eth.getCode(made).length > 2);
    },
    calls: function () {
        equal(eth.contract(contract.abi).at(made).get.call().toNumber(), 42);
        equal(web3.toDecimal(eth.getStorageAt(made, 0)), 42);
    },
    explains_a_revert: function () {
        // The book's rules are older than the opcode.
        var data = web3.sha3("fail()").slice(0, 10);
        var fail = request.bind(null, "eth_call", [{ to: made, data: data }, "latest"]);
        refused(fail, [isLondon ? "not now" : "invalid opcode: REVERT"]);
    },
    sends_two_at_once: function () {
        var nonce = eth.getTransactionCount(from);
        var sent = [pay({}), pay({})];
        sent.forEach(mined);
        equal(eth.getTransactionCount(from), nonce + 2);
    },
    reads_logs: function () {
        var there = eth.contract(contract.abi).at(made);
        var receipt = mined(there.set.sendTransaction(7, { from: from, gas: 100000 }));
        var found = there.Set({ by: from }, { fromBlock: 0 }).get();
        equal(found.length, 1);
        equal(found[0].transactionHash, receipt.transactionHash);
        equal(found[0].args.value.toNumber(), 7);
    },
    hears_logs: function () {
        var filter = request("eth_newFilter", [{ address: made }]);
        var there = eth.contract(contract.abi).at(made);
        var receipt = mined(there.set.sendTransaction(8, { from: from, gas: 100000 }));
        var heard = request("eth_getFilterChanges", [filter]);
        equal(heard.length, 1);
        equal(heard[0].transactionHash, receipt.transactionHash);
    },
};

var seen = {};
for (var name in checks) {
    try {
        checks[name]();
        seen[name] = "ok";
    } catch (error) {
        seen[name] = String(error);
    }
}
console.log(JSON.stringify(seen));
