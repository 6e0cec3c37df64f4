"""Subscriptions over WebSocket or IPC, with today's web3.py.

usage: web3_7_subscriptions.py URL|PATH KEY
Sends a contract that logs, and prints what the subscriptions said as one line of JSON.
"""

import asyncio
import json
import sys

from web3 import AsyncIPCProvider, AsyncWeb3, WebSocketProvider

place, key = sys.argv[1:]
# Init code that logs the topic 42 and leaves nothing behind.
INIT_CODE = "0x602a60006000a100"
TOPIC = "0x" + "2a".zfill(64)


async def listen(w3, seen, ids):
    """Collects until each subscription has said something."""
    async for message in w3.socket.process_subscriptions():
        seen[ids[message["subscription"]]].append(message["result"])
        if all(seen.values()):
            return


async def main():
    """Subscribes, sends, and waits."""
    provider = WebSocketProvider(place) if place.startswith("ws") else AsyncIPCProvider(place)
    async with AsyncWeb3(provider) as w3:
        account = w3.eth.account.from_key(key)
        kinds = {
            "heads": ("newHeads",),
            "hashes": ("newPendingTransactions",),
            "objects": ("newPendingTransactions", True),
            "logs": ("logs", {"topics": [TOPIC]}),
        }
        ids = {await w3.eth.subscribe(*kind): name for name, kind in kinds.items()}
        transaction = {
            "data": INIT_CODE,
            "gas": 100_000,
            "gasPrice": 2 * await w3.eth.gas_price,
            "nonce": await w3.eth.get_transaction_count(account.address),
            "chainId": await w3.eth.chain_id,
        }
        sent = await w3.eth.send_raw_transaction(account.sign_transaction(transaction).raw_transaction)
        seen = {name: [] for name in kinds}
        await asyncio.wait_for(listen(w3, seen, ids), 120)
        gone = [await w3.eth.unsubscribe(subscription) for subscription in ids]
        print(
            json.dumps(
                {
                    "sent": sent.to_0x_hex(),
                    "head": seen["heads"][0]["hash"].to_0x_hex(),
                    "number": seen["heads"][0]["number"],
                    "hash": seen["hashes"][0].to_0x_hex(),
                    "object": seen["objects"][0]["hash"].to_0x_hex(),
                    "log": seen["logs"][0]["transactionHash"].to_0x_hex(),
                    "block": seen["logs"][0]["blockHash"].to_0x_hex(),
                    "removed": seen["logs"][0]["removed"],
                    "gone": gone,
                }
            )
        )


asyncio.run(main())
