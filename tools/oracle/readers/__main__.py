"""Gives what gorun writes to the programs that it is for, and compares; gives theirs to gorun.

    python tools/oracle/readers --gorun bin/gorun --gguf SMOLLM2.gguf --cache FOLDER [PART]...

gguf is a GGUF of SmolLM2-135M (the demo's model). cache is where packages come from (packages.py), and pictures go to.
Parts:

    families   transformers, PEFT and llama.cpp, on the tiny models of model/testdata, adapters of every kind
    smollm2    the same and vLLM's check, on a real model; those that follow use what it makes
    tasks      lm-eval
    masks      transformers' chat templates, TRL's and NeMo AutoModel's labels
    records    TensorBoard, wandb sync, Prometheus
    page       the report in Chromium, wide and narrow, light and dark: texts that overlap, and pictures to look at
    talk       gorun generate --chat on a terminal, against transformers

make readers runs all. docs/export.md and docs/records.md have the outcome.
"""

import argparse
import logging
import os
import pathlib
import sys
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = os.environ["TQDM_DISABLE"] = "1"

import transformers  # noqa: E402
from common import Run  # noqa: E402

import families  # noqa: E402
import masks  # noqa: E402
import packages  # noqa: E402
import page  # noqa: E402
import records  # noqa: E402
import smollm2  # noqa: E402
import talk  # noqa: E402
import tasks  # noqa: E402


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--gorun", required=True)
    p.add_argument("--gguf", required=True)
    p.add_argument("--cache", required=True, type=pathlib.Path)
    p.add_argument("parts", nargs="*")
    args = p.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    fetched = args.cache.resolve() / "packages"
    packages.fetch(fetched)
    with tempfile.TemporaryDirectory() as tmp:
        run = Run(os.path.abspath(args.gorun), pathlib.Path(tmp))
        parts = {
            "families": lambda: families.main(run),
            "smollm2": lambda: smollm2.main(run, args.gguf, fetched / "vllm" / "lora" / "peft_helper.py"),
            "tasks": lambda: tasks.main(run),
            "masks": lambda: masks.main(run, fetched / "trl", fetched / "nemo_automodel"),
            "records": lambda: records.main(run),
            "page": lambda: page.main(run, args.cache.resolve() / "shots"),
            "talk": lambda: talk.main(run),
        }
        if unknown := set(args.parts) - set(parts):
            p.error(f"no part is called {', '.join(sorted(unknown))}")
        for name, part in parts.items():
            if not args.parts or name in args.parts:
                part()
    return 1 if run.bad else 0


if __name__ == "__main__":
    sys.exit(main())
