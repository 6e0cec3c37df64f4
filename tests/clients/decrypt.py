"""The address of a key file, by any web3.py.

usage: decrypt.py KEYFILE PASSWORDFILE
"""

import json
import sys

from eth_account import Account

with open(sys.argv[1]) as file:
    encrypted = json.load(file)
with open(sys.argv[2]) as file:
    password = file.read().replace("\n", "")
key = Account.decrypt(encrypted, password)
print(json.dumps({"address": Account.from_key(key).address}))
