"""The manifests of deploy/book: identities from Secrets, chain and DAG on volumes, probes. What pods keep when processes die."""
import base64
import glob
import json
import os
import re
import signal
import subprocess
import time

from testbed import (IMAGE, NAMESPACE, TOOLS, address, figure, inside, kubectl, logs, number, pods, restarts, rpc, say, trial,
                     usage, wait)

MANIFESTS = os.path.join(os.getcwd(), "deploy", "book")
TX = "http://eth-geth-tx.data:8545"
WANTED = {"eth-bootnode": 2, "eth-bootnode-registrar": 1, "eth-ethstats": 1, "eth-geth-miner": 3, "eth-geth-tx": 2}
# The account of deploy/book/10-secrets.yaml.
BENEFICIARY = "0x5cbdd86a2fa8dc4bddd8a8f69dba48572eec07fb"


def manifests(replacements=()):
    """The folder, with the image that was just built, and other texts in the place of some."""
    text = ""
    for path in sorted(glob.glob(os.path.join(MANIFESTS, "*.yaml"))):
        with open(path) as file:
            text += "---\n" + re.sub(r"image: hematite:\S+", f"image: {IMAGE}", file.read())
    for old, new in replacements:
        text = text.replace(old, new)
    # The testbed's Kubernetes is of 2020.
    return subprocess.run([os.path.join(TOOLS, "kube-compat")], input=text, text=True, capture_output=True, check=True).stdout


def ops(address, path):
    """Status and text of a probe of a pod, as the kubelet asks."""
    status, out, _ = inside("curl", "-sS", "-m", "5", "-w", "\n%{http_code}", f"http://{address}:6061{path}")
    text, _, code = out.rpartition("\n")
    return (int(code), text) if status == 0 else (0, "")


def red(address, path):
    """What a probe says, if it is red."""
    status, text = ops(address, path)
    return text if status == 503 else None


def start(replacements=()):
    began = time.monotonic()
    kubectl("apply", "-f", "-", input=manifests(replacements))
    wait("a tx node answers", 120, lambda: len(pods("eth-geth-tx", ready=False)) == 2)
    wait("a block is mined", 1200, lambda: number(rpc(TX, "eth_blockNumber")) >= 1)
    figure("deploy/book: apply to the first mined block", f"{time.monotonic() - began:.0f} s", "60 s")
    wait("all pods are ready", 1200, lambda: all(len(pods(app)) == count for app, count in WANTED.items()))
    figure("deploy/book: apply to all pods ready", f"{time.monotonic() - began:.0f} s")


def identities():
    """What the Secrets say is what is there."""
    status, listed, _ = inside("curl", "-sS", "-m", "5", "http://eth-bootnode-registrar.data/")
    wanted = {line.split(":")[0] for line in bootnode_ids()}
    assert status == 0 and {url[8:136] for url in listed.strip().split(",")} == wanted, listed
    block = wait("a block", 60, lambda: rpc(TX, "eth_getBlockByNumber", "0x1", False))[0]
    assert block["miner"] == BENEFICIARY, block["miner"]


def bootnode_ids():
    """The public halves of the keys in the Secret, by the tool that geth's users know."""
    secret = json.loads(kubectl("-n", NAMESPACE, "get", "secret", "eth-bootnode", "-o", "json"))["data"]
    for key in secret.values():
        words = ["bash", "-c", 'exec -a bootnode "$0" -nodekeyhex "$1" -writeaddress', os.environ["HEMATITE_BIN"],
                 base64.b64decode(key).decode()]
        yield subprocess.run(words, text=True, capture_output=True, check=True).stdout.strip()


def node_id(name):
    """Who a pod says that it is, from its log."""
    found = re.findall(r"Started P2P networking.*?enode://([0-9a-f]{128})", logs(name))
    return found[-1] if found else None


def kill(name):
    """Ends the process of a pod from outside, with no word of warning; when its container runs again."""
    identity = json.loads(kubectl("-n", NAMESPACE, "get", "pod", name, "-o", "json"))
    container = identity["status"]["containerStatuses"][0]
    before = container["restartCount"]
    id = container["containerID"].rpartition("/")[2]
    victims = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/cgroup") as file:
                if id in file.read():
                    victims.append(int(number))
        except (FileNotFoundError, ProcessLookupError):
            continue
    assert victims, f"{name} has processes"
    for victim in victims:
        os.kill(victim, signal.SIGKILL)

    def again():
        status = json.loads(kubectl("-n", NAMESPACE, "get", "pod", name, "-o", "json"))["status"]["containerStatuses"][0]
        return status["restartCount"] > before and "running" in status["state"]
    wait(f"{name} was started again", 300, again)


def killed():
    """kill -9: the same node with the same chain and the same DAG comes back."""
    wait("the DAG is on the volume", 600, lambda: "Saved DAG" in logs("eth-geth-miner-0"))
    for name in ("eth-geth-tx-0", "eth-geth-miner-0", "eth-bootnode-0"):
        ip = address(name)
        before = node_id(name)
        head = number(rpc(f"http://{ip}:8545", "eth_blockNumber")) if "tx" in name else None
        began = time.monotonic()
        kill(name)
        if "bootnode" in name:
            identities()
            continue
        wait(f"{name} is itself again", 120, lambda: node_id(name) == before)
        if head is not None:
            found = wait("it answers", 120, lambda: rpc(f"http://{ip}:8545", "eth_getBlockByNumber", hex(head), False))[0]
            assert found, "its chain is as long as it said"
            assert "Imported" not in logs(name).split("Started P2P networking")[0], "its chain is there before it has peers"
            figure("a killed tx node answers from its volume", f"after {time.monotonic() - began:.0f} s")
        else:
            wait("it mines again", 600, lambda: "mined potential block" in logs(name))
            said = logs(name)
            assert "Generating DAG" not in said and "Generating DAG" in logs(name, "--previous"), "the DAG is on the volume"
            figure("a killed miner mines again with the DAG of its volume", f"after {time.monotonic() - began:.0f} s", "60 s")
    wait("all pods are ready again", 600, lambda: all(len(pods(app)) == count for app, count in WANTED.items()))


def probes():
    """Red without peers, with the reason; green when they are back; alive all the while."""
    ip = address("eth-geth-tx-0")
    wait("it is ready", 60, lambda: ops(ip, "/readyz")[0] == 200)
    # The asking probe sets the bar: no node of five has a hundred peers.
    text = wait("it says so", 60, lambda: red(ip, "/readyz?minPeers=100"))[0]
    assert "peers" in text, text
    # Everybody else leaves.
    for app in ("eth-geth-miner", "eth-bootnode"):
        kubectl("-n", NAMESPACE, "scale", f"statefulset/{app}", "--replicas=0")
    kubectl("-n", NAMESPACE, "scale", "statefulset/eth-geth-tx", "--replicas=1")
    text = wait("without peers it is not ready", 300, lambda: red(ip, "/readyz"))[0]
    say(f"/readyz without peers: {' | '.join(text.split(chr(10)))}")
    assert re.search(r"(?m)^\[-\]peers", text) and not re.search(r"(?m)^\[-\](chain|disk|startup)", text), text
    assert ops(ip, "/livez")[0] == 200 and ops(ip, "/startupz")[0] == 200
    wait("Kubernetes takes it out of the Service", 120, lambda: not pods("eth-geth-tx"))
    endpoints = kubectl("-n", NAMESPACE, "get", "endpoints", "eth-geth-tx", "-o", "jsonpath={.subsets[*].addresses[*].ip}")
    assert ip not in endpoints.split(), endpoints
    for app, count in (("eth-bootnode", 2), ("eth-geth-miner", 3), ("eth-geth-tx", 2)):
        kubectl("-n", NAMESPACE, "scale", f"statefulset/{app}", f"--replicas={count}")
    wait("all pods are ready again", 900, lambda: all(len(pods(app)) == count for app, count in WANTED.items()))
    # A volume that comes back has the chain and the DAG: the miners that came back made none.
    for name, _ in pods("eth-geth-miner"):
        assert "Generating DAG" not in logs(name), f"{name} made its DAG again"


def at_rest():
    """Memory and processor of each role."""
    asked = {"bootnode": "20 MB", "registrar": "30 MB", "ethstats": "30 MB", "tx": "60 MB", "miner": "60 MB and the dataset"}
    role_of = lambda words: next((word.removeprefix("--role=") for word in words if word.startswith("--role=")), None)
    for role, (memory, share) in usage(role_of).items():
        figure(f"{role}: RSS, and share of a core", f"{memory:.0f} MiB, {share:.1f} %", asked[role])


def main():
    trial((start, identities, killed, probes, at_rest,
           lambda: figure("containers that were started again", restarts(), "3: those that were killed")), WANTED)


if __name__ == "__main__":
    main()
