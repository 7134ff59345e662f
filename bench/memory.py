"""What a rank takes, on this machine's CPU: gorun plan's estimate, the device's own count, and the process's resident memory.

    python3 bench/memory.py bin/gorun

Trains two steps of a 135M-parameter model with random weights, LoRA in bf16 and in full, on 1, 2, 4 and 8 ranks, and
prints a table in Markdown. The largest of a mesh's ranks counts.
"""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile

RECIPE = """
[model]
pretrained_model_name_or_path = "mock:smollm2-135m"
dtype = "bf16"
[peft]
dim = 16
[dataset]
kind = "mock"
seq_length = 64
num_samples = 64
[dataloader]
batch_size = 1
[step_scheduler]
max_steps = 2
[optimizer]
name = "adamw"
[checkpoint]
enabled = false
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def planned(gorun, recipe, ranks, sets):
    """The plan's total, in GiB."""
    out = subprocess.run([gorun, "plan", recipe, "--device", "cpu", "--ranks", str(ranks), *sets], check=True, capture_output=True, text=True).stdout
    line = next(line for line in out.splitlines() if line.startswith("memory"))
    return float(re.search(r"([\d.]+) GiB", line)[1])


def trained(gorun, recipe, ranks, sets, log):
    """The highest count of rank 0's device, and the highest resident memory of any rank, in GiB."""
    env = dict(os.environ, WORLD_SIZE=str(ranks), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()), GORUN_JOB_KEY=secrets.token_hex(32))
    command = [gorun, "rank", recipe, "--device", "cpu", "--set", "logging.dir=" + log, *sets]
    for rank in range(ranks):
        subprocess.Popen(command, env=dict(env, RANK=str(rank)), stdout=subprocess.DEVNULL)
    resident = 0
    for _ in range(ranks):
        _, status, usage = os.wait3(0)
        if status:
            sys.exit(f"a rank ended with status {status}")
        resident = max(resident, usage.ru_maxrss)
    with open(os.path.join(log, "training.jsonl")) as f:
        device = max(json.loads(line)["mem_gib"] for line in f)
    return device, resident / (1 << 20)


def main():
    gorun = sys.argv[1]
    print("| trained | ranks | estimate | device's count | off by | resident |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        recipe = os.path.join(folder, "recipe.toml")
        with open(recipe, "w") as f:
            f.write(RECIPE)
        for name, scheme in ("LoRA, bf16", "lora"), ("all, f32", "none"):
            for ranks in 1, 2, 4, 8:
                sets = ["--set", "peft.scheme=" + scheme]
                total = planned(gorun, recipe, ranks, sets)
                device, resident = trained(gorun, recipe, ranks, sets, os.path.join(folder, f"{scheme}{ranks}"))
                print(f"| {name} | {ranks} | {total:.2f} | {device:.2f} | {100 * (total / device - 1):+.0f} % | {resident:.2f} |", flush=True)


if __name__ == "__main__":
    main()
