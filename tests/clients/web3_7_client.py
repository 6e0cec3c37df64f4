"""Everything that a user of today's web3.py does.

usage: web3_7_client.py URL WS_URL KEY CHAIN_ID book|london
Prints what went wrong with each check as one line of JSON.
"""

import asyncio
import sys

from checks import CONTRACT, LONGEST, NO_LONDON, PAYEE, refused, run
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import TransactionNotFound
from web3.middleware import SignAndSendRawMiddlewareBuilder

url, ws_url, key, chain_id, rules = sys.argv[1:]
w3 = Web3(Web3.HTTPProvider(url))
account = w3.eth.account.from_key(key)
w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
w3.eth.default_account = account.address
GAS_PRICE = w3.to_wei(50, "gwei")
TYPE_2 = {"maxFeePerGas": GAS_PRICE, "maxPriorityFeePerGas": w3.to_wei(1, "gwei")}
# The library's own fees are for London's rules only.
FEES = {} if rules == "london" else {"gasPrice": GAS_PRICE}
made = []


def receipt_of(sent):
    receipt = w3.eth.wait_for_transaction_receipt(sent, timeout=LONGEST, poll_latency=0.2)
    assert receipt.status == 1, receipt
    return receipt


def pay(**fields):
    return w3.eth.send_transaction({"from": account.address, "to": PAYEE, "value": 1, **fields})


def signed(**fields):
    transaction = {"nonce": w3.eth.get_transaction_count(account.address), "gas": 21000, "gasPrice": GAS_PRICE, "to": PAYEE, "value": 1}
    return account.sign_transaction({**transaction, **fields})


def contract():
    return w3.eth.contract(address=made[0], abi=CONTRACT["abi"])


def connects():
    assert w3.is_connected(show_traceback=True)
    assert w3.eth.chain_id == int(chain_id) and w3.net.version == chain_id
    assert "/" in w3.client_version and w3.net.peer_count == 0 and w3.net.listening is not None


def reads():
    block = w3.eth.get_block("latest", full_transactions=True)
    assert w3.eth.get_block(block.hash).number == block.number <= w3.eth.block_number
    assert ("baseFeePerGas" in block) == (rules == "london"), block
    assert w3.eth.get_balance(account.address) > 0 == w3.eth.get_balance("0x" + "88" * 20)
    assert w3.eth.gas_price >= 10**9 <= w3.eth.max_priority_fee
    assert len(w3.eth.fee_history(2, "latest", [50]).baseFeePerGas) == 3
    assert w3.eth.get_code(account.address) == b""
    with w3.batch_requests() as batch:
        batch.add(w3.eth.get_block(0))
        batch.add(w3.eth.get_block("latest"))
        assert [block.number == 0 for block in batch.execute()] == [True, False]


def sends_with_chain_id():
    sent = signed(chainId=int(chain_id))
    receipt_of(w3.eth.send_raw_transaction(sent.raw_transaction))
    found = w3.eth.get_transaction(sent.hash)
    assert found.v - 2 * int(chain_id) in (35, 36) and found["from"] == account.address, found


def sends_without_chain_id():
    sent = signed()
    receipt = receipt_of(w3.eth.send_raw_transaction(sent.raw_transaction))
    assert sent.v in (27, 28) and receipt.gasUsed == 21000


def sends_with_default_fees():
    if rules == "london":
        assert receipt_of(pay()).type == 2
    else:
        refused(pay, "baseFeePerGas")


def sends_by_londons_rules():
    if rules == "london":
        receipt = receipt_of(pay(**TYPE_2))
        assert receipt.type == 2 and receipt.effectiveGasPrice <= GAS_PRICE
    else:
        refused(lambda: pay(gas=21000, **TYPE_2), *NO_LONDON)


def sends_with_an_access_list():
    fields = {"accessList": [{"address": PAYEE, "storageKeys": ["0x" + "00" * 32]}], "gasPrice": GAS_PRICE, "gas": 50000}
    if rules == "london":
        assert receipt_of(pay(**fields)).type == 1
    else:
        refused(lambda: pay(**fields), "Berlin is not scheduled on this chain", "send no access list")


def does_not_find_what_was_not_sent():
    refused(lambda: w3.eth.get_transaction("0x" + "77" * 32), TransactionNotFound.__name__)


def deploys():
    factory = w3.eth.contract(abi=CONTRACT["abi"], bytecode=CONTRACT["bytecode"])
    made.append(receipt_of(factory.constructor().transact(FEES)).contractAddress)
    assert len(w3.eth.get_code(made[0])) > 0


def calls():
    assert contract().functions.get().call() == 42
    assert int.from_bytes(w3.eth.get_storage_at(made[0], 0), "big") == 42


def explains_a_revert():
    # The book's rules are older than the opcode.
    refused(contract().functions.fail().call, "not now" if rules == "london" else "invalid opcode: REVERT")


def sends_two_at_once():
    nonce = w3.eth.get_transaction_count(account.address)
    sent = [w3.eth.send_raw_transaction(signed(nonce=nonce + more, chainId=int(chain_id)).raw_transaction) for more in (0, 1)]
    assert w3.eth.get_transaction_count(account.address, "pending") == nonce + 2
    assert [receipt_of(hash).transactionHash for hash in sent] == sent


def reads_logs():
    receipt = receipt_of(contract().functions.set(7).transact(FEES))
    (log,) = contract().events.Set().process_receipt(receipt)
    (found,) = contract().events.Set.get_logs(from_block=receipt.blockNumber, argument_filters={"by": account.address})
    assert log.args.value == found.args.value == 7 and found.args.by == account.address
    assert contract().functions.get().call() == 7
    old = w3.eth.filter({"fromBlock": "earliest", "address": made[0]}).get_all_entries()
    assert [entry.transactionHash for entry in old] == [receipt.transactionHash], old


def hears_logs():
    async def listen():
        async with AsyncWeb3(WebSocketProvider(ws_url)) as socket:
            subscription = await socket.eth.subscribe("logs", {"address": made[0]})
            sent = await asyncio.to_thread(lambda: contract().functions.set(8).transact(FEES))
            async for message in socket.socket.process_subscriptions():
                assert message["subscription"] == subscription
                assert message["result"].transactionHash == sent, message
                assert contract().events.Set().process_log(message["result"]).args.value == 8
                return await socket.eth.unsubscribe(subscription)

    assert asyncio.run(asyncio.wait_for(listen(), LONGEST))


run(
    connects,
    reads,
    sends_with_chain_id,
    sends_without_chain_id,
    sends_with_default_fees,
    sends_by_londons_rules,
    sends_with_an_access_list,
    does_not_find_what_was_not_sent,
    deploys,
    calls,
    explains_a_revert,
    sends_two_at_once,
    reads_logs,
    hears_logs,
)
