"""A repository fetched whole: finch fetch beside huggingface_hub's snapshot_download, from one Hub on the loopback.

    python bench/fetch.py [--small 400] [--big-mib 256]

Two cases: many small files (JSON of 2 to 20 kB, outside LFS) and one big one (in LFS, over the CDN's port). The Hub is
tests/hub/stand_in.py, which is Python and shares the machine: on a loopback it is what both sides wait for most, so the ratio is
of requests made and work done around them and says nothing about a real network, where the line is what both wait for. The peer
is loaded before it is timed (its imports take about a second); finch is timed with its start. Its Xet is off: the stand-in has none.
Each turn begins with an empty cache. finch checks every content against its hash and flushes it to disk, the peer does neither.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import benchlib
import drive

sys.path.insert(0, str(benchlib.ROOT / "tests" / "hub"))

SERVER = """
import random, sys, threading
sys.path.insert(0, sys.argv[1])
from stand_in import Repo, StandIn, md5
draw = random.Random(4)
small, big = int(sys.argv[2]), int(sys.argv[3]) << 20
hub = StandIn()
hub.add(Repo("bench/small", {f"part-{i % 7}/file-{i}.json": draw.randbytes(draw.randint(2_000, 20_000)) for i in range(small)}))
hub.add(Repo("bench/big", {"config.json": b"{}"}, {"model.safetensors": b"".join(draw.randbytes(1 << 20) for _ in range(big >> 20))}))
for repo in hub.repos.values():  # a CDN has made its hashes long before it is asked
    for data in repo.lfs.values():
        md5(data)
with hub:
    print(hub.endpoint, flush=True)
    sys.stdin.read()
"""

PEER = """
import json, sys, time
from huggingface_hub import snapshot_download
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    begin = time.perf_counter()
    snapshot_download(job["repo"], cache_dir=job["cache"])
    print(json.dumps({"seconds": time.perf_counter() - begin}), flush=True)
"""


def environment(endpoint):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))}
    return env | {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def finch_turn(env, repo, cache):
    begin = time.perf_counter()
    done = subprocess.run([str(drive.finch_binary()), "fetch", repo, "--json", "--quiet"], env=env | {"HF_HUB_CACHE": cache}, capture_output=True,
                          text=True)
    if done.returncode != 0:
        raise drive.Failed(done.stderr)
    seconds = time.perf_counter() - begin
    found = json.loads(done.stdout)
    return {"seconds": seconds, "megabytes_per_second": found["bytes"] / 1e6 / seconds, "files_per_second": found["files"] / seconds,
            "bytes": found["bytes"], "files": found["files"]}


def peer_turn(peer, repo, cache, like):
    peer.stdin.write(json.dumps({"repo": repo, "cache": cache}) + "\n")
    peer.stdin.flush()
    answer = peer.stdout.readline()
    if not answer:
        raise drive.Failed("the peer ended")
    seconds = json.loads(answer)["seconds"]
    return {"seconds": seconds, "megabytes_per_second": like["bytes"] / 1e6 / seconds, "files_per_second": like["files"] / seconds}


def turns(env, peer, repo, rounds):
    ours, theirs = [], []
    for turn in range(rounds):
        for side in ("finch", "peer"):
            cache = tempfile.mkdtemp(prefix="finch-bench-fetch-")
            try:
                if side == "finch":
                    ours.append(finch_turn(env, repo, cache))
                else:
                    theirs.append(peer_turn(peer, repo, cache, ours[-1]))
            finally:
                shutil.rmtree(cache, True)
        benchlib.note(f"  {repo}, round {turn + 1}: finch {ours[-1]['seconds']:.2f} s, huggingface_hub {theirs[-1]['seconds']:.2f} s")
    return ours, theirs


def main():
    options = benchlib.parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--small", type=int, default=400, help="small files (default 400)")
    options.add_argument("--big-mib", type=int, default=256, help="MiB of the big one (default 256)")
    args = options.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(benchlib.ROOT / "tests" / "hub"), str(args.small), str(args.big_mib)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    endpoint = server.stdout.readline().strip()
    if not endpoint:
        raise drive.Failed("the Hub's stand-in did not come up")
    env = environment(endpoint)
    peer = subprocess.Popen([sys.executable, "-c", PEER], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    result = {"what": "a repository fetched", "environment": benchlib.environment(args.threads), "cases": {}}
    try:
        peer.stdout.readline()
        for name, unit in (("small", "files_per_second"), ("big", "megabytes_per_second")):
            ours, theirs = turns(env, peer, f"bench/{name}", args.rounds)
            result["cases"][name] = {"files": ours[0]["files"], "bytes": ours[0]["bytes"], **drive.compare(args.rounds, ours, theirs, unit, 1.0)}
    finally:
        for process in (peer, server):
            process.kill()
            process.wait()
    benchlib.emit(result, args.save)


if __name__ == "__main__":
    sys.exit(drive.run_main(main))
