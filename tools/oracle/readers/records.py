"""What a run records, read by TensorBoard, by `wandb sync` and by a parser of Prometheus' text, against training.jsonl."""

import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

from common import GOLDEN, byte_tokenizer
from wandbserver import Server

STEPS = 400
RECIPE = """
[model]
pretrained_model_name_or_path = "{base}"
dtype = "f32"
[peft]
[dataset]
kind = "mock"
seq_length = 12
num_samples = 32
[validation_dataset.easy]
num_samples = 4
[validation_dataset.hard]
num_samples = 8
[dataloader]
batch_size = 4
[step_scheduler]
num_epochs = 1000
max_steps = {steps}
val_every_steps = 40
[optimizer]
lr = 1e-2
[lr_scheduler]
name = "wsd"
warmup_steps = 40
[generate_samples]
prompts = ["a", "ab"]
max_new_tokens = 8
[checkpoint]
dir = "{run}"
[logging]
tensorboard = true
prometheus = "127.0.0.1:{port}"
wandb = {{ project = "readers" }}
"""


def train(run, folder):
    """Trains, and returns the training and validation rows and what Prometheus reads meanwhile."""
    from prometheus_client.parser import text_string_to_metric_families as parse

    base = run.work / "records-base"
    shutil.copytree(GOLDEN / "llama3", base)
    byte_tokenizer(base)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    recipe = run.work / "records.toml"
    recipe.write_text(RECIPE.format(base=base, run=folder, port=port, steps=STEPS))
    gorun = subprocess.Popen([run.gorun, str(recipe), "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    scraped, opener = {}, urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for line in gorun.stdout:
        if line.startswith("[val hard]"):
            try:
                text = opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
            except OSError:  # the run is over
                continue
            scraped = {(s.name, s.labels.get("set")): s.value for family in parse(text) for s in family.samples}
    assert gorun.wait() == 0
    rows = lambda name: [json.loads(line) for line in (folder / name).read_text().splitlines()]  # noqa: E731
    return rows("training.jsonl"), rows("validation.jsonl"), scraped


def near(a, b):
    return math.isclose(a, b, rel_tol=1e-6)


def tensorboard(run, folder, training, validation):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    want = {"train/loss": [(r["step"], r["loss"]) for r in training], "train/lr": [(r["step"], r["lr"]) for r in training]}
    want |= {f"val/{s}": [(r["step"], r["val_loss"]) for r in validation if r["set"] == s] for s in ("easy", "hard")}
    bad = []
    for tag, rows in want.items():
        got = [(e.step, e.value) for e in events.Scalars(tag)]
        if len(got) != len(rows) or not all(a == c and near(b, d) for (a, b), (c, d) in zip(got, rows)):
            bad.append(tag)
    run.verdict("TensorBoard", not bad, f"{', '.join(want)} have the values of the JSON lines" if not bad else f"{bad} differ")


def wandb(run, folder, training, validation):
    server = Server()
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith("WANDB")}
    env |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40, "WANDB_ERROR_REPORTING": "false", "HOME": str(run.work), "NO_PROXY": "127.0.0.1"}
    offline = sorted((folder / "wandb").glob("offline-run-*"))
    out = subprocess.run([sys.executable, "-m", "wandb", "sync", *map(str, offline)], env=env, cwd=run.work, capture_output=True, text=True)
    for _ in range(100):
        if server.complete is not None:
            break
        time.sleep(0.1)
    server.shutdown()
    losses = [r["train/loss"] for r in server.history if "train/loss" in r]
    rows = [r for r in server.history if any(k.startswith("val/") for k in r)]
    good = out.returncode == 0 and losses == [r["loss"] for r in training] and len(rows) in (len(validation), len(validation) // 2)
    run.verdict("wandb sync", good and {"config.yaml", "wandb-summary.json"} <= set(server.files), f"uploads {len(losses)} steps with the losses of training.jsonl, {len(rows)} validations, {', '.join(sorted(server.files))}"
                if good else f"exit code {out.returncode}, {len(server.history)} rows\n{out.stdout}{out.stderr}")


def prometheus(run, training, validation, scraped):
    losses = [r["loss"] for r in training]
    good = scraped.get(("gorun_loss", None)) in losses and all(
        scraped.get(("gorun_validation_loss", s)) in [r["val_loss"] for r in validation if r["set"] == s] for s in ("easy", "hard"))
    run.verdict("Prometheus", good, f"its parser reads {len(scraped)} samples, the losses among them")


def main(run):
    folder = run.work / "records"
    training, validation, scraped = train(run, folder)
    tensorboard(run, folder, training, validation)
    wandb(run, folder, training, validation)
    prometheus(run, training, validation, scraped)
