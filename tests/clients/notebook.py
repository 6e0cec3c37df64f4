"""The steps of the book's notebook, with the book's web3.py 5.9.

usage: notebook.py URL KEYFILE PASSWORDFILE FROM TO
Prints what it saw as one line of JSON.
"""

import json
import sys
import time

from web3 import Web3

url, key_file, password_file, account_1, account_2 = sys.argv[1:]
DEADLINE = time.monotonic() + 180

web3 = Web3(Web3.HTTPProvider(url))
if not web3.isConnected():
    sys.exit(f"Not connected: {url}")
seen = {
    "peers": web3.net.peerCount,
    "version": web3.net.version,
    "client": web3.clientVersion,
    "last_block": web3.eth.blockNumber,
    "balance_1": str(web3.eth.getBalance(account_1)),
    "balance_2": str(web3.eth.getBalance(account_2)),
}

transaction = {
    "nonce": web3.eth.getTransactionCount(account_1),
    "to": account_2,
    "value": web3.toWei(1, "ether"),
    "gas": 2000000,
    "gasPrice": web3.toWei("50", "gwei"),
}
with open(password_file) as file:
    password = file.read().replace("\n", "")
with open(key_file) as file:
    encrypted = file.read()
key = web3.eth.account.decrypt(encrypted, password)
# No chain id: the book signs like this, and so the signature is not replay protected.
signed = web3.eth.account.signTransaction(transaction, key)
tx_hash = web3.eth.sendRawTransaction(signed.rawTransaction)

number = None
while type(number) is not int:
    transaction = web3.eth.getTransaction(tx_hash)
    number = transaction.blockNumber
    if type(number) is not int:
        if time.monotonic() > DEADLINE:
            sys.exit("the transaction was not mined")
        time.sleep(0.2)

last_blocks = min(100, number + 1)
timestamps = [web3.eth.getBlock(number - i).timestamp for i in range(last_blocks)]
if any(later < earlier for later, earlier in zip(timestamps, timestamps[1:])):
    sys.exit(f"time runs backwards: {timestamps}")

receipt = web3.eth.getTransactionReceipt(tx_hash)
seen.update(
    v=transaction.v,
    hash=web3.toHex(tx_hash),
    block=number,
    status=receipt.status,
    blocks_read=len(timestamps),
    received=str(web3.eth.getBalance(account_2, number) - web3.eth.getBalance(account_2, number - 1)),
)
print(json.dumps(seen))
