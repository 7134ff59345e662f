"""Time from the command to running ranks, two nodes on this machine: gorun beside torchrun.

    python bench/startup.py GORUN TORCHRUN [RUNS]

Both start two agents at once, each with one rank, and the clock stops when both ranks' processes exist. What the ranks do
then is not measured. Prints a Markdown table of medians.
"""

import os
import pathlib
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time

MARK = "GORUN_BENCH_MARK"

RECIPE = """
[model]
pretrained_model_name_or_path = "mock:smollm2-135m"
[dataset]
kind = "mock"
seq_length = 16
num_samples = 64
[checkpoint]
dir = "{dir}"
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def ranks(mark: str) -> set:
    """Pids of the processes that have both the mark and a RANK."""
    found = set()
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            env = path.read_bytes()
        except OSError:
            continue
        if f"{MARK}={mark}\0".encode() in env and (env.startswith(b"RANK=") or b"\0RANK=" in env):
            found.add(int(path.parent.name))
    return found


def measure(commands: list) -> float:
    """Seconds from starting the commands until each has a rank; then ends them."""
    mark = secrets.token_hex(8)
    env = dict(os.environ, **{MARK: mark}, GORUN_JOB_KEY=secrets.token_hex(32))
    began = time.monotonic()
    agents = [subprocess.Popen(c, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for c in commands]
    try:
        while len(ranks(mark)) < len(commands):
            for a in agents:
                if a.poll() is not None:
                    sys.exit(f"{a.args} has ended: {a.stderr.read().decode()}")
            if time.monotonic() - began > 120:
                sys.exit(f"{commands} have no ranks after 120 s")
            time.sleep(0.005)
        return time.monotonic() - began
    finally:
        left = ranks(mark)
        for a in agents:
            a.kill()
            a.wait()
        for pid in left:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass


def main() -> None:
    gorun, torchrun = sys.argv[1], sys.argv[2]
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    with tempfile.TemporaryDirectory() as tmp:
        recipe, script = pathlib.Path(tmp, "recipe.toml"), pathlib.Path(tmp, "rank.py")
        recipe.write_text(RECIPE.format(dir=pathlib.Path(tmp, "run")))
        script.write_text("import time; time.sleep(60)\n")

        def with_gorun(port: int) -> list:
            return [[gorun, "--device=cpu", "--nnodes=2", f"--rdzv-endpoint=127.0.0.1:{port}", f"--node-rank={n}", str(recipe)] for n in range(2)]

        def with_c10d(port: int) -> list:
            return [[torchrun, "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=bench", str(script)] for _ in range(2)]

        def with_static(port: int) -> list:
            return [[torchrun, "--nnodes=2", "--nproc-per-node=1", f"--node-rank={n}", "--master-addr=127.0.0.1", f"--master-port={port}", str(script)] for n in range(2)]

        print("| launcher | median s | all s |\n|---|---|---|")
        for name, commands in [("gorun", with_gorun), ("torchrun, c10d", with_c10d), ("torchrun, static", with_static)]:
            took = [measure(commands(free_port())) for _ in range(runs)]
            print(f"| {name} | {statistics.median(took):.2f} | {' '.join(f'{t:.2f}' for t in took)} |", flush=True)


if __name__ == "__main__":
    main()
