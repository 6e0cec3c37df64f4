"""The last block as JSON, read with web3.py 5.9 as a function in the book does.

usage: last_block.py URL
"""

import json
import sys

from hexbytes import HexBytes
from web3 import Web3


class Encoder(json.JSONEncoder):
    """Writes bytes as hex."""

    def default(self, o):
        return o.hex() if isinstance(o, HexBytes) else super().default(o)


block = Web3(Web3.HTTPProvider(sys.argv[1])).eth.getBlock("latest")
print(json.dumps(block.__dict__, cls=Encoder))
