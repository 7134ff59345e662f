"""What the parts share: gorun as a function, verdicts, comparisons."""

import json
import pathlib
import subprocess

GOLDEN = pathlib.Path(__file__).resolve().parents[3] / "model" / "testdata" / "golden"
KINDS = GOLDEN.parent / "kinds"


class Failed(Exception):
    """gorun ended with an error; the text is what it said."""


class Run:
    """A folder to work in, gorun, and how many comparisons have failed."""

    def __init__(self, gorun, work):
        self.gorun, self.work, self.bad = gorun, work, 0

    def __call__(self, *args):
        out = subprocess.run([self.gorun, *map(str, args)], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if out.returncode:
            raise Failed(f"gorun {' '.join(map(str, args))}\n{out.stderr}")
        return out.stdout

    def refused(self, words, *args):
        """Whether gorun refuses to do it, in these words."""
        try:
            self(*args)
        except Failed as e:
            if words not in str(e):
                raise
            return True
        return False

    def verdict(self, what, good, detail):
        self.bad += not good
        print(f"{'ok ' if good else 'BAD'} {what}: {detail}", flush=True)


def off(a, b):
    """Root mean square of the differences over that of b about its mean."""
    return ((a - b).square().mean() / (b - b.mean()).square().mean()).sqrt().item()


def load(path):
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()


def byte_tokenizer(folder):
    """The goldens have none, and gorun asks for one: 97 bytes of the byte-level alphabet."""
    from tokenizers import pre_tokenizers

    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet())[:97])}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None, "decoder": {"type": "ByteLevel"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": []}}))
