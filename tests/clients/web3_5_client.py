"""Everything that a user of the book's web3.py 5.9 does.

usage: web3_5_client.py URL WS_URL KEY CHAIN_ID book|london
Prints what went wrong with each check as one line of JSON.
"""

import sys

from checks import CONTRACT, PAYEE, refused, run, wait
from web3 import Web3
from web3.exceptions import TransactionNotFound

url, ws_url, key, chain_id, rules = sys.argv[1:]
w3 = Web3(Web3.HTTPProvider(url))
account = w3.eth.account.from_key(key)
GAS_PRICE = w3.toWei(50, "gwei")
made = []


def receipt_of(sent):
    receipt = w3.eth.waitForTransactionReceipt(sent, timeout=180, poll_latency=0.2)
    assert receipt.status == 1, receipt
    return receipt


def signed(**fields):
    transaction = {"nonce": w3.eth.getTransactionCount(account.address), "gas": 21000, "gasPrice": GAS_PRICE, "to": PAYEE, "value": 1}
    return account.sign_transaction({**transaction, **fields})


def transact(call):
    fields = {"from": account.address, "nonce": w3.eth.getTransactionCount(account.address)}
    sent = account.sign_transaction(call.buildTransaction(fields))
    return receipt_of(w3.eth.sendRawTransaction(sent.rawTransaction))


def contract():
    return w3.eth.contract(address=made[0], abi=CONTRACT["abi"])


def connects():
    assert w3.isConnected()
    assert w3.eth.chainId == int(chain_id) and w3.net.version == chain_id
    assert "/" in w3.clientVersion and w3.net.peerCount == 0


def reads():
    block = w3.eth.getBlock("latest", full_transactions=True)
    assert w3.eth.getBlock(block.hash).number == block.number <= w3.eth.blockNumber
    assert w3.eth.getBalance(account.address) > 0 == w3.eth.getBalance("0x" + "88" * 20)
    assert w3.eth.gasPrice >= 10**9
    assert w3.eth.getCode(account.address) == b""


def sends_with_chain_id():
    sent = signed(chainId=int(chain_id))
    receipt_of(w3.eth.sendRawTransaction(sent.rawTransaction))
    found = w3.eth.getTransaction(sent.hash)
    assert found.v - 2 * int(chain_id) in (35, 36) and found["from"] == account.address, found


def sends_without_chain_id():
    sent = signed()
    receipt = receipt_of(w3.eth.sendRawTransaction(sent.rawTransaction))
    assert sent.v in (27, 28) and receipt.gasUsed == 21000


def does_not_find_what_was_not_sent():
    refused(lambda: w3.eth.getTransaction("0x" + "77" * 32), TransactionNotFound.__name__)


def deploys_with_default_fees():
    made.append(transact(w3.eth.contract(abi=CONTRACT["abi"], bytecode=CONTRACT["bytecode"]).constructor()).contractAddress)
    assert len(w3.eth.getCode(made[0])) > 0


def calls():
    assert contract().functions.get().call() == 42
    assert int.from_bytes(w3.eth.getStorageAt(made[0], 0), "big") == 42


def explains_a_revert():
    # The book's rules are older than the opcode.
    refused(contract().functions.fail().call, "not now" if rules == "london" else "invalid opcode: REVERT")


def sends_two_at_once():
    nonce = w3.eth.getTransactionCount(account.address)
    sent = [w3.eth.sendRawTransaction(signed(nonce=nonce + more, chainId=int(chain_id)).rawTransaction) for more in (0, 1)]
    assert w3.eth.getTransactionCount(account.address, "pending") == nonce + 2
    assert [receipt_of(hash).transactionHash for hash in sent] == sent


def reads_logs():
    receipt = transact(contract().functions.set(7))
    (log,) = contract().events.Set().processReceipt(receipt)
    (found,) = contract().events.Set.getLogs(fromBlock=receipt.blockNumber, argument_filters={"by": account.address})
    assert log.args.value == found.args.value == 7 and found.args.by == account.address
    assert contract().functions.get().call() == 7
    old = w3.eth.filter({"fromBlock": "earliest", "address": made[0]}).get_all_entries()
    assert [entry["transactionHash"] for entry in old] == [receipt.transactionHash], old


def hears_logs():
    socket = Web3(Web3.WebsocketProvider(ws_url))
    events = socket.eth.contract(address=made[0], abi=CONTRACT["abi"]).events.Set
    filters = [contract().events.Set.createFilter(fromBlock="latest"), events.createFilter(fromBlock="latest")]
    transact(contract().functions.set(8))
    for filter in filters:
        (log,) = wait("a log", filter.get_new_entries)
        assert log.args.value == 8, log


run(
    connects,
    reads,
    sends_with_chain_id,
    sends_without_chain_id,
    does_not_find_what_was_not_sent,
    deploys_with_default_fees,
    calls,
    explains_a_revert,
    sends_two_at_once,
    reads_logs,
    hears_logs,
)
