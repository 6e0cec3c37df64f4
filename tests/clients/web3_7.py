"""A transfer and a contract, with today's web3.py.

usage: web3_7.py URL KEY TO default|GASPRICE
With `default` the library chooses the fees, with a number they are a gas price in wei.
Prints the receipts' parts as one line of JSON.
"""

import json
import sys

from web3 import Web3
from web3.middleware import SignAndSendRawMiddlewareBuilder

url, key, to, fees = sys.argv[1:]
# Init code that stores 42 in slot 0 and leaves code that returns it.
INIT_CODE = "0x602a600055600b6011600039600b6000f360005460005260206000f3"

w3 = Web3(Web3.HTTPProvider(url))
assert w3.is_connected(), url
account = w3.eth.account.from_key(key)
w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(account), layer=0)
w3.eth.default_account = account.address
extra = {} if fees == "default" else {"gasPrice": int(fees)}


def send(transaction):
    """Sends a transaction and waits until it is mined."""
    tx_hash = w3.eth.send_transaction({"from": account.address, **transaction, **extra})
    return w3.eth.wait_for_transaction_receipt(tx_hash, timeout=180, poll_latency=0.2)


transfer = send({"to": to, "value": w3.to_wei(1, "ether")})
creation = send({"data": INIT_CODE})
answer = w3.eth.call({"to": creation.contractAddress})
print(
    json.dumps(
        {
            "chain_id": w3.eth.chain_id,
            "transfer": transfer.transactionHash.to_0x_hex(),
            "transfer_status": transfer.status,
            "type": transfer.type,
            "creation": creation.transactionHash.to_0x_hex(),
            "creation_status": creation.status,
            "contract": creation.contractAddress,
            "answer": int.from_bytes(answer, "big"),
            "slot": int.from_bytes(w3.eth.get_storage_at(creation.contractAddress, 0), "big"),
            "block": creation.blockNumber,
        }
    )
)
