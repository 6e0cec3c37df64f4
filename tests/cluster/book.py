"""The book's cluster with nothing changed but its images: from `kubectl apply` to the end of the chapter."""
import glob
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

from testbed import (DASHBOARD, IMAGE, NAMESPACE, VENVS, figure, image_sizes, inside, kubectl, logs, number, pods, reported,
                     restarts, rpc, say, trial, usage, wait)

BOOK = os.environ["BOOK_CLUSTER"]
CLIENTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "clients")
OURS = {
    "ethereum/client-go:v1.9.13": f"{IMAGE}-geth",
    "ethereum/client-go:alltools-v1.9.13": f"{IMAGE}-geth",
    "jpoon/bootnode-registrar:v1.0.0": f"{IMAGE}-registrar",
    "ethereumex/eth-stats-dashboard:v0.0.1": f"{IMAGE}-ethstats",
}
# The book's readers put accounts of their own into the genesis.
KEYS = ("0x" + "01" * 32, "0x" + "02" * 32)
BOOK_ACCOUNTS = ("0xFa4087D3688a289c9C92e773a7b46cb9CCf80353", "0x8ab8F3fc6c660d3f0B22490050C843cafd2c0AAC")
TX = "http://eth-geth-tx.data:8545"


def python(venv, script, *words, seconds=400):
    """A script with the web3.py of the book or of today, inside the cluster."""
    status, out, errors = inside(f"{VENVS}/{venv}/bin/python", script, *words, seconds=seconds)
    assert status == 0, f"{script} failed: {out}{errors}"
    return out


def addresses():
    code = "import sys\nfrom eth_account import Account\nfor key in sys.argv[1:]: print(Account.from_key(key).address)"
    return subprocess.check_output([f"{VENVS}/web3-7/bin/python", "-c", code, *KEYS], text=True).split()


def manifests(accounts, images=OURS):
    """The book's files in their order, with other images and the reader's accounts."""
    for path in sorted(glob.glob(os.path.join(BOOK, "*-*", "*.yml"))):
        if path.endswith("50-ingress.yml"):
            continue  # An API that this Kubernetes may not have; the book's readers own a domain for it.
        with open(path) as file:
            text = file.read()
        text = re.sub(r"(image: )(\S+)", lambda found: found[1] + images.get(found[2], found[2]), text)
        for old, new in zip(BOOK_ACCOUNTS, accounts):
            text = text.replace(old, new)
        yield path, text


def height():
    return number(rpc(TX, "eth_blockNumber"))


def apply(accounts):
    """Applies everything; says how long it took until all pods were ready and until a block was mined."""
    kubectl("create", "namespace", NAMESPACE)
    began = time.monotonic()
    for _, text in manifests(accounts):
        kubectl("apply", "-f", "-", input=text)
    wanted = {"eth-bootnode": 2, "eth-bootnode-registrar": 1, "eth-ethstats": 1, "eth-geth-miner": 3, "eth-geth-tx": 2}
    wait("all pods are ready", 300, lambda: all(len(pods(app)) == count for app, count in wanted.items()))
    figure("kubectl apply to all pods ready", f"{time.monotonic() - began:.0f} s")
    wait("a block is mined", 1200, lambda: height() >= 1)
    figure("kubectl apply to the first mined block, DAG of three miners at 0.4 core included",
           f"{time.monotonic() - began:.0f} s", "60 s; geth 1.9.13: 1 732 s and more")


def one_chain():
    """All miners' blocks are in the chain that both tx nodes have."""
    (_, first), (_, second) = pods("eth-geth-tx")
    nodes = [f"http://{address}:8545" for address in (first, second)]

    def miners():
        count = height()
        blocks = [rpc(TX, "eth_getBlockByNumber", hex(n), False) for n in range(1, count + 1)]
        return {block["miner"] for block in blocks if block}
    wait("three miners have blocks in the chain", 900, lambda: len(miners()) == 3)
    wait("both tx nodes follow", 120, lambda: all(number(rpc(node, "eth_blockNumber")) >= 5 for node in nodes))
    settled = height() - 2
    hashes = [wait("they have the block", 60, lambda: rpc(node, "eth_getBlockByNumber", hex(settled), False))[0]["hash"]
              for node in nodes]
    assert hashes[0] == hashes[1], hashes
    peers = wait("a tx node has all four peers", 120, lambda: number(rpc(nodes[0], "net_peerCount")) == 4)
    figure("tx node's peers", 4 if peers else "fewer", "4")
    assert rpc(TX, "net_version") == "27587"


def clients(accounts):
    """The notebook, the function, and WebSocket, through the Service."""
    with tempfile.TemporaryDirectory() as folder:
        key, password = os.path.join(folder, "account1.json"), os.path.join(folder, "pass1.txt")
        code = ("import json, sys\nfrom eth_account import Account\n"
                "print(json.dumps(Account.encrypt(sys.argv[1], 'pass', kdf='pbkdf2', iterations=1000)))")
        with open(key, "w") as file:
            file.write(subprocess.check_output([f"{VENVS}/web3-7/bin/python", "-c", code, KEYS[0]], text=True))
        with open(password, "w") as file:
            file.write("pass\n")
        said = python("web3-5", f"{CLIENTS}/notebook.py", TX, key, password, *accounts)
    say(f"the notebook saw {' '.join(said.split())}")
    os.environ["GETH_RPC_ENDPOINT"] = TX
    block = python("web3-5", os.path.join(BOOK, "functions", "last-block", "handler.py"))
    assert "'statusCode': 200" in block and "'hash'" in block, block
    code = ("import json\nfrom websockets.sync.client import connect\n"
            "with connect('ws://eth-geth-tx.data:8546') as socket:\n"
            "    socket.send(json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': 'eth_subscribe', 'params': ['newHeads']}))\n"
            "    print(json.loads(socket.recv(60))['result'], json.loads(socket.recv(240))['params']['result']['number'])")
    # In geth, `--ws` without an address listens within the pod only, and the book's port leads nowhere.
    say(f"port 8546 told of a block: {python('web3-7', '-c', code).strip()}")


def heals():
    """Scaling, and pods that are deleted."""
    kubectl("-n", NAMESPACE, "scale", "deployment/eth-geth-tx", "--replicas=3")
    wait("a third tx node is ready", 120, lambda: len(pods("eth-geth-tx")) == 3)
    address = [ip for _, ip in pods("eth-geth-tx")][-1]
    wait("it has caught up", 120, lambda: number(rpc(f"http://{address}:8545", "eth_blockNumber")) >= height() > 0)
    kubectl("-n", NAMESPACE, "scale", "deployment/eth-geth-tx", "--replicas=2")
    before = {name for name, _ in pods("eth-geth-miner")}
    gone = sorted(before)[0]
    began = time.monotonic()
    kubectl("-n", NAMESPACE, "delete", "pod", gone, "--wait=false")

    def mines_again():
        new = [name for name, _ in pods("eth-geth-miner") if name not in before]
        return new and "mined potential block" in logs(new[0])
    wait("the new miner mines", 900, mines_again)
    figure("a deleted miner's successor mines", f"after {time.monotonic() - began:.0f} s", "60 s; geth 1.9.13: 1 605 s")


def dashboard():
    """Everybody reports, and a browser shows it."""
    names = {name for app in ("eth-geth-miner", "eth-geth-tx") for name, _ in pods(app)}
    wait("five nodes are on the dashboard", 120, lambda: names <= {name for name, node in reported().items() if node["connected"]})
    with tempfile.TemporaryDirectory() as folder:
        pictures = os.environ.get("HEMATITE_PICTURES", folder)
        seen = json.loads(python("web3-7", os.path.join(CLIENTS, "dashboard.py"), f"{DASHBOARD}/", pictures, seconds=400))
    assert names <= set(seen["rows"]), seen
    # The browser waited for the plot of block times, and for a new block without a reload.
    assert seen["marked"] and not seen["trouble"] and not seen["nameless"], seen
    assert seen["hosts"] == [DASHBOARD.removeprefix("http://")], seen
    figure("nodes on the dashboard, in Chromium", len(names), "5")


def probe(address, path):
    """What a pod says of itself."""
    return inside("curl", "-sS", "-m", "5", f"http://{address}:6061{path}")[1]


def odd_node(accounts, name, changes):
    """A tx node beside those of the book, with something wrong about it."""
    for path, text in manifests(accounts):
        if path.endswith(("40-miner/20-configmap.yml", "50-tx/30-deployment.yml")):
            names = [("eth-geth-tx", name), ("name: eth-geth\n", f"name: {name}\n"), ("replicas: 2", "replicas: 1")]
            for old, new in names + changes:
                text = text.replace(old, new)
            kubectl("apply", "-f", "-", input=text)
    return wait(f"{name} runs", 180, lambda: pods(name))[0][0]


def told(what, seconds, words, said):
    """Waits until something is said in words, and repeats it."""
    def line():
        return next((line for line in said().splitlines() if all(word in line for word in words)), None)
    say(f"{what}: {wait(f'{what} is told of with {words}', seconds, line)[0].strip()}")


def bad_input(accounts):
    """What is wrong is said in words, where somebody would look."""
    name, ip = odd_node(accounts, "eth-geth-odd", [('"difficulty": "0x400"', '"difficulty": "0x800"')])
    told("a pod with another genesis, in its log", 180, ("No peers", "genesis"), lambda: logs(name))
    told("a pod with another genesis, in /readyz", 60, ("[-]peers", "genesis"), lambda: probe(ip, "/readyz"))
    kubectl("-n", NAMESPACE, "delete", "deployment", "eth-geth-odd", "--wait=false")
    secret = """              valueFrom:
                secretKeyRef:
                  name: eth-ethstats
                  key: WS_SECRET
"""
    name, ip = odd_node(accounts, "eth-geth-stranger", [(secret, "              value: wrong\n")])
    told("a wrong WS_SECRET, in the node's log", 120, ("Could not report to the dashboard", "secret"), lambda: logs(name))
    board = pods("eth-ethstats")[0][0]
    told("a wrong WS_SECRET, in the dashboard's log", 60, ("Refused a node", "WS_SECRET"), lambda: logs(board))
    kubectl("-n", NAMESPACE, "delete", "deployment", "eth-geth-stranger", "--wait=false")
    kubectl("-n", NAMESPACE, "scale", "deployment/eth-bootnode", "--replicas=0")
    wait("the bootnodes are gone", 120, lambda: not pods("eth-bootnode", ready=False))
    kubectl("-n", NAMESPACE, "delete", "pod", "-l", "app=eth-bootnode-registrar")
    name, ip = wait("a new registrar runs", 120, lambda: pods("eth-bootnode-registrar"))[0][0]
    told("a registrar without bootnodes, in its log", 120, ("Could not find bootnodes",), lambda: logs(name))
    told("a registrar without bootnodes, in /readyz", 60, ("[-]nodes",), lambda: probe(ip, "/readyz"))
    # New bootnodes know nobody, and the nodes know none of them, but for the registrar.
    kubectl("-n", NAMESPACE, "scale", "deployment/eth-bootnode", "--replicas=2")
    listed = lambda: inside("curl", "-sS", "http://eth-bootnode-registrar.data/")[1].count("enode:")
    wait("the registrar lists both", 120, lambda: listed() == 2)
    kubectl("-n", NAMESPACE, "scale", "deployment/eth-geth-tx", "--replicas=3")
    known = {ip for _, ip in pods("eth-geth-tx")}
    new = wait("a third tx node is ready", 180, lambda: [ip for _, ip in pods("eth-geth-tx") if ip not in known])[0][0]
    wait("it has caught up by bootnodes that came after the nodes", 240,
         lambda: number(rpc(f"http://{new}:8545", "eth_blockNumber")) >= height() > 0)


def sizes():
    for name, size in image_sizes().items():
        figure(f"image {name}", f"{size:.0f} MB", "60 MB" if name == IMAGE else "")


def role_of(words):
    line = " ".join(words)
    return ("miner" if "--mine" in line else "tx" if "--rpcaddr" in line else "registrar" if "registrar" in line
            else "dashboard" if "ethstats" in line else "bootnode" if os.path.basename(words[0]) == "bootnode" else None)


def at_rest():
    """Memory and processor of each role. A dataset in private memory is counted with its miner."""
    asked = {"bootnode": "20 MB", "registrar": "30 MB", "dashboard": "30 MB", "tx": "60 MB", "miner": "60 MB and the dataset"}
    for role, (memory, share) in usage(role_of).items():
        figure(f"{role}: RSS, and share of a core", f"{memory:.0f} MiB, {share:.1f} %", asked[role])


def block_times():
    last = height()
    times = [number(rpc(TX, "eth_getBlockByNumber", hex(n), False)["timestamp"]) for n in range(1, last + 1)]
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    if gaps:
        figure("block times", f"{len(gaps)} blocks, median {statistics.median(gaps):.0f} s, most {max(gaps)} s")


def main():
    accounts = addresses()
    parts = (lambda: apply(accounts), one_chain, lambda: clients(accounts), dashboard, heals, at_rest, block_times,
             lambda: figure("containers that were started again", restarts(), "0"), lambda: bad_input(accounts), sizes)
    trial(parts, ("eth-bootnode", "eth-geth-miner", "eth-geth-tx", "eth-ethstats"))


if __name__ == "__main__":
    main()
