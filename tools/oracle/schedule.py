"""Golden learning rates of rank: every schedule of transformers that a recipe can name, step by step.

Writes rank/testdata/schedule.json: a list of cases {name, lr, min_lr, warmup_steps, decay_steps, total, rates}, the
recipe's words and transformers' rates of steps 0 to total inclusive (total is the first step after the run).

    python tools/oracle/schedule.py             write it
    python tools/oracle/schedule.py --check     compare with what is there, write nothing
"""

import argparse
import json
import pathlib
import sys
import warnings

import torch
from transformers import optimization as opt

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "rank" / "testdata" / "schedule.json"


def schedule(name, optimizer, lr, min_lr, warmup, decay, total):
    """The transformers function for a recipe's name. A min_lr of 0 must be the plain function, where there is one."""
    if name == "constant":
        return opt.get_constant_schedule_with_warmup(optimizer, warmup)
    if name == "linear" and min_lr == 0:
        return opt.get_linear_schedule_with_warmup(optimizer, warmup, total)
    if name == "linear":
        return opt.get_polynomial_decay_schedule_with_warmup(optimizer, warmup, total, lr_end=min_lr, power=1.0)
    if name == "cosine" and min_lr == 0:
        return opt.get_cosine_schedule_with_warmup(optimizer, warmup, total)
    if name == "cosine":
        return opt.get_cosine_with_min_lr_schedule_with_warmup(optimizer, warmup, total, min_lr=min_lr)
    if name == "wsd":
        return opt.get_wsd_schedule(optimizer, warmup, decay, num_training_steps=total, min_lr_ratio=min_lr / lr)
    raise ValueError(name)


def case(name, lr, min_lr, warmup, decay, total):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    s = schedule(name, optimizer, lr, min_lr, warmup, decay, total)
    rates = []
    for _ in range(total + 1):
        rates.append(s.get_last_lr()[0])
        s.step()
    return {"name": name, "lr": lr, "min_lr": min_lr, "warmup_steps": warmup, "decay_steps": decay, "total": total, "rates": rates}


def cases():
    out = []
    for lr, min_lr in ((2.0, 0.0), (1e-5, 1e-6)):
        for warmup, total in ((0, 7), (1, 9), (4, 13)):
            out += [case(name, lr, min_lr, warmup, 0, total) for name in ("linear", "cosine")]
            out += [case("wsd", lr, min_lr, warmup, decay, total) for decay in (1, 5, total - warmup)]
            if min_lr == 0:
                out.append(case("constant", lr, min_lr, warmup, 0, total))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    warnings.simplefilter("ignore")  # torch's, of a schedule without an optimizer step
    text = "[\n" + ",\n".join(json.dumps(c) for c in cases()) + "\n]\n"
    if check:
        if GOLDEN.read_text() != text:
            sys.exit(f"{GOLDEN} differs")
        return
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_text(text)


if __name__ == "__main__":
    main()
