"""Training speed on this machine's CPU beside transformers + PEFT, in one table: `make peers`.

usage: cpu.py GORUN PYTHON [ROWS SEQ]
GORUN is the built binary with the demo model installed; PYTHON has torch, transformers and PEFT. Every work runs alone,
one after the other; close everything else first.
"""
import json
import pathlib
import platform
import subprocess
import sys
import tempfile

gorun, python = sys.argv[1], sys.argv[2]
rows, seq = (sys.argv[3:5] + ["4", "256"])[:2] if len(sys.argv) > 4 else ("4", "256")
here = pathlib.Path(__file__).parent


def last_json(command):
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out[out.index("{"):])


def ours(dtype):
    r = last_json([gorun, "--device", "cpu", "bench", "--dtype", dtype, "--batch-size", rows, "--seq-length", seq, "--steps", "5", "--warmup", "2", "--json"])
    return {"tok_s": r["tok_s"], "first_step_s": r["first_step_s"], "rss_gib": r["peak_rss_gib"]}


def main():
    results = {}
    with tempfile.TemporaryDirectory() as tmp:
        model = f"{tmp}/model"
        subprocess.run([gorun, "--device", "cpu", "export", "--format", "hf", "--dtype", "f32", "--base", "demo:smollm2-135m", "--out", model], check=True, stdout=subprocess.DEVNULL)
        for dtype in ("f32", "bf16"):
            results[f"gorun {dtype}"] = ours(dtype)
            for how in ("eager", "compile"):
                results[f"PEFT {dtype} {how}"] = last_json([python, str(here / "peft_cpu.py"), model, dtype, rows, seq, how])
    best = max(r["tok_s"] for name, r in results.items() if name.startswith("PEFT"))
    print(f"SmolLM2-135M, LoRA dim 16 on all projections, {rows} x {seq} tokens, {platform.machine()} CPU")
    print(f"{'':20}{'tok/s':>8}{'to PEFT best':>14}{'first step':>12}{'peak memory':>13}")
    for name, r in results.items():
        print(f"{name:20}{r['tok_s']:8.0f}{r['tok_s'] / best:13.2f}x{r['first_step_s']:10.1f} s{r['rss_gib']:9.2f} GiB")


main()
