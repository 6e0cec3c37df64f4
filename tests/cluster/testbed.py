"""A Kubernetes that lives for one test, and what tests ask of it."""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback

TOOLS = os.environ["KUBE_TOOLS"]
IMAGE = "hematite:test"
KINDS = ("geth", "bootnode", "registrar", "ethstats")
NAMESPACE = "data"
# The lean image's base cannot be pulled without a registry: its files, of the same packages of the same Debian.
DISTROLESS = "gcr.io/distroless/base-nossl-debian12:nonroot"
DISTROLESS_FILES = r"""
FROM debian:bookworm-slim AS debian
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates netbase tzdata
RUN mkdir -p /base/usr/lib /base/usr/lib64 /base/usr/bin /base/usr/sbin /base/home/nonroot \
 && for package in base-files ca-certificates libc6 netbase tzdata; do dpkg -L $package; done \
 | grep -v '/usr/share/\(doc\|lintian\|locale\|man\)/' \
 | while read -r path; do if [ -L "$path" ] || [ -f "$path" ]; then echo "$path"; fi; done > /list \
 && tar -c -T /list -C / etc/ssl/certs | tar -x -C /base && mkdir -p -m 1777 /base/tmp \
 && printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' > /base/etc/passwd \
 && printf 'root:x:0:\nnonroot:x:65532:\n' > /base/etc/group
FROM scratch
COPY --from=debian /base /
USER 65532
WORKDIR /home/nonroot
"""
DASHBOARD = "http://eth-ethstats.data:8080"
VENVS = os.path.expanduser("~/.cache/hematite/venv")
FIGURES = []


def say(text):
    print(f"cluster: {text}", flush=True)


def figure(what, value, asked=""):
    FIGURES.append((what, value, asked))
    say(f"{what}: {value}" + (f" (asked: {asked})" if asked else ""))


def table():
    print("\n| figure | measured | asked |\n|---|---|---|")
    for row in FIGURES:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def tool(name, *words, **options):
    """A tool of the testbed, which must succeed."""
    done = subprocess.run([os.path.join(TOOLS, name), *words], text=True, capture_output=True, **options)
    if done.returncode != 0:
        sys.exit(f"{name} {' '.join(words)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def kubectl(*words, **options):
    return tool("k", *words, **options)


def inside(*words, seconds=60):
    """A command of this machine in the cluster's network: its status, output and errors."""
    done = subprocess.run([os.path.join(TOOLS, "kube-ns"), *words], text=True, capture_output=True, timeout=seconds)
    return done.returncode, done.stdout, done.stderr


def wait(what, seconds, condition):
    """What the condition gives as soon as it gives something, and after how many seconds."""
    began = time.monotonic()
    while True:
        found = condition()
        if found:
            return found, time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not in {seconds} s: {what}")
        time.sleep(0.5)


def images(binary):
    """Builds the images and gives them to the cluster."""
    context = tempfile.mkdtemp(prefix="hematite-image-")
    try:
        for folder in ("data", "tmp", "lib"):
            os.makedirs(os.path.join(context, "out", folder))
        # As docker/build-binary does it; another build than that has C++'s library outside.
        names = ["-w", "-N", "*boa_*", "-N", "*rocksdb*"]
        subprocess.run(["strip", "--strip-debug", *names, "-o", os.path.join(context, "out", "hematite"), binary], check=True)
        needed = subprocess.check_output(["readelf", "--dynamic", binary], text=True)
        for name in filter(needed.__contains__, ("libstdc++.so.6", "libgcc_s.so.1")):
            library = subprocess.check_output(["cc", f"-print-file-name={name}"], text=True).strip()
            shutil.copy(library, os.path.join(context, "out", "lib", name))
        with open(os.path.join(context, "Dockerfile"), "w") as file:
            file.write(DISTROLESS_FILES)
        tool("kube-build-image", context, "distroless:test")
        base = f"{DISTROLESS}=container-image://localhost/distroless:test"
        for name, more in [(IMAGE, ["--build-context", base]), *((f"{IMAGE}-{kind}", ["--target", kind]) for kind in KINDS)]:
            tool("kube-build-image", os.getcwd(), name, "-f", "docker/Dockerfile", "--",
                 "--build-context", f"build={context}", *more)
    finally:
        shutil.rmtree(context)
    tool("kube-load", IMAGE, *(f"{IMAGE}-{kind}" for kind in KINDS))


def image_sizes():
    """MB of each of our images, unpacked."""
    script = f'. "{TOOLS}/lib.sh"; podman image inspect "$@" --format "{{{{.Size}}}}"'
    names = [f"localhost/{name}" for name in (IMAGE, *(f"{IMAGE}-{kind}" for kind in KINDS))]
    sizes = subprocess.run(["bash", "-c", script, f"{TOOLS}/sizes", *names], text=True, capture_output=True, check=True).stdout
    return {name.removeprefix("localhost/"): int(size) / 10**6 for name, size in zip(names, sizes.split())}


def pods(label, ready=True):
    """Names and addresses of the pods of an app that are there to stay."""
    listed = json.loads(kubectl("-n", NAMESPACE, "get", "pods", "-l", f"app={label}", "-o", "json"))["items"]
    found = []
    for pod in listed:
        statuses = pod["status"].get("containerStatuses", [])
        is_ready = bool(statuses) and all(status["ready"] for status in statuses)
        if "deletionTimestamp" not in pod["metadata"] and (is_ready or not ready):
            found.append((pod["metadata"]["name"], pod["status"].get("podIP")))
    return found


def restarts():
    """How often containers were started again."""
    listed = json.loads(kubectl("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]
    return sum(status["restartCount"] for pod in listed for status in pod["status"].get("containerStatuses", []))


def logs(pod, *words):
    return kubectl("-n", NAMESPACE, "logs", pod, *words)


def rpc(address, method, *params):
    """A call over HTTP from within the cluster; None where nobody answers."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    status, out, _ = inside("curl", "-sS", "-m", "10", "-H", "content-type: application/json", "-d", body, address)
    try:
        return json.loads(out).get("result") if status == 0 else None
    except json.JSONDecodeError:
        say(f"{address} answers {out[:200]!r}")
        return None


def spread(seconds):
    """Of sorted times."""
    return f"median {seconds[len(seconds) // 2]:.1f} s, 99 % {seconds[len(seconds) * 99 // 100]:.1f} s, most {seconds[-1]:.1f} s"


def number(quantity):
    return int(quantity, 16) if quantity else -1


def reported():
    """The nodes that report to the dashboard, by name."""
    status, out, _ = inside("curl", "-sS", "-m", "10", f"{DASHBOARD}/api/v1/network")
    try:
        return {node["name"]: node for node in json.loads(out)["nodes"]} if status == 0 else {}
    except json.JSONDecodeError:
        return {}


def trial(parts, apps):
    """Runs parts on a fresh cluster; ends with the figures, and where one failed with the last words of some apps."""
    tool("kube-down")
    tool("kube-up")
    failed = None
    try:
        images(os.environ["HEMATITE_BIN"])
        for part in parts:
            part()
    except Exception as error:
        failed = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        sys.stderr.write(kubectl("-n", NAMESPACE, "get", "pods", "-o", "wide"))
        for app in apps:
            for name, _ in pods(app, ready=False)[:1]:
                sys.stderr.write(f"--- {name}\n{logs(name, '--all-containers', '--tail=40')}\n")
    finally:
        if not os.environ.get("KEEP_CLUSTER"):
            tool("kube-down")
    table()
    sys.exit(f"failed: {failed}" if failed else 0)


def processes():
    """Arguments, MiB of memory, and seconds on a processor of each process of ours on this machine."""
    found = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")[:-1]
            with open(f"/proc/{number}/status") as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            with open(f"/proc/{number}/stat") as file:
                ticks = sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words and os.path.basename(words[0]) in ("hematite", "geth", "bootnode") and "VmRSS" in status:
            resident = {name: int(status[name].split()[0]) / 1024 for name in ("VmRSS", "RssFile", "RssShmem")}
            found.append((words, resident, ticks / os.sysconf("SC_CLK_TCK")))
    return found


def usage(role_of):
    """MiB of each role's processes, at the median, and per cent of a core that each used, over half a minute."""
    def roles():
        found = {}
        for words, resident, seconds in processes():
            if role_of(words):
                found.setdefault(role_of(words), []).append((resident["VmRSS"], seconds))
        return found
    total = lambda rows: sum(seconds for _, seconds in rows)
    before, period = roles(), 30
    time.sleep(period)
    return {role: (statistics.median(size for size, _ in after),
                   (total(after) - total(before.get(role, []))) / period / len(after) * 100)
            for role, after in sorted(roles().items())}


class Users:
    """Who sends transactions; sender.py says how."""

    def __init__(self, url, rate, accounts, way):
        self.report = tempfile.NamedTemporaryFile(prefix="transactions-", suffix=".json")
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sender.py")
        words = [os.path.join(TOOLS, "kube-ns"), f"{VENVS}/load/bin/python", "-B", script]
        words += [url, str(rate), str(accounts), way, self.report.name]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "sending\n", "the accounts were not paid"

    def stop(self):
        """The book of what was sent."""
        self.process.communicate(timeout=600)
        assert self.process.returncode == 0, "the sender failed"
        return json.load(self.report)


def address(name):
    """Of a pod."""
    return kubectl("-n", NAMESPACE, "get", "pod", name, "-o", "jsonpath={.status.podIP}")
