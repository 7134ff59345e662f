"""huggingface_hub, transformers and PEFT share a cache and a Hub with gorun.

    python tools/oracle/hub.py GORUN LOCALHUB

GORUN is bin/gorun and LOCALHUB a build of ./tools/localhub. Everything is on this machine and in temporary folders.
Each line that is printed is something that held; the first that does not hold ends it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "model/testdata/golden/llama3"
TOKEN = "hf_local"


def run(gorun, *args, fails=False, **env):
    """Run gorun; return what it printed, on standard error if it must fail."""
    done = subprocess.run([gorun, *args], env={**os.environ, **env}, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, f"gorun {args}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stderr if fails else done.stdout.strip()


def python(code, **env):
    """Run Python in a process of its own: huggingface_hub reads its environment when it is imported."""
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, f"{code}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def tree(cache):
    """Name, kind and contents of everything in a cache, locks apart."""
    out = {}
    for path in sorted(Path(cache).rglob("*")):
        name = path.relative_to(cache)
        if name.parts[0] in (".locks", "CACHEDIR.TAG"):
            continue
        out[str(name)] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else "folder"
    return out


def held(what):
    print("held:", what, flush=True)


def same_cache(gorun, work):
    wanted = ["config.json", "model.safetensors"]
    ours, theirs = work / "ours", work / "theirs"
    download = f"from huggingface_hub import snapshot_download as s; print(s('acme/tiny', allow_patterns={wanted}))"
    path = run(gorun, "fetch", "acme/tiny", HF_HUB_CACHE=str(ours))
    assert python(download, HF_HUB_CACHE=str(ours), HF_HUB_OFFLINE="1") == path
    held("huggingface_hub finds offline what gorun fetched")
    assert python(download, HF_HUB_CACHE=str(theirs)) == path.replace(str(ours), str(theirs))
    a, b = tree(ours), tree(theirs)
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    different = [name for name in a if a[name] != b[name] and (not name.startswith("models--acme--tiny/trees/") or json.loads(a[name]) != json.loads(b[name]))]
    assert not different, different
    held(f"both caches hold the same {len(a)} names, links and contents")
    assert run(gorun, "fetch", "acme/tiny", HF_HUB_CACHE=str(theirs), HF_HUB_OFFLINE="1") == path.replace(str(ours), str(theirs))
    held("gorun finds offline what huggingface_hub fetched")
    shutil.rmtree(theirs / "models--acme--tiny/trees")
    assert run(gorun, "fetch", "acme/tiny", HF_HUB_CACHE=str(theirs), HF_HUB_OFFLINE="1") == path.replace(str(ours), str(theirs))
    held("gorun finds offline what a release without listings fetched")
    files = "from huggingface_hub import get_cached_repo_tree as g; print(len(g('acme/tiny')))"
    assert python(files, HF_HUB_CACHE=str(ours)) == str(sum(1 for f in GOLDEN.rglob("*") if f.is_file()))
    held("huggingface_hub reads gorun's listing")
    scan = "from huggingface_hub import scan_cache_dir as s; r = s(); print(len(r.warnings), [(x.repo_id, x.nb_files) for x in r.repos])"
    assert python(scan, HF_HUB_CACHE=str(ours)) == "0 [('acme/tiny', 2)]"
    held("huggingface_hub's scan of gorun's cache has no warnings")


def same_lock(gorun, work):
    cache = work / "locked"
    etag = next((work / "ours/models--acme--tiny/snapshots").glob("*/model.safetensors")).resolve().name
    lock = cache / f".locks/models--acme--tiny/{etag}.lock"
    lock.parent.mkdir(parents=True)
    import filelock

    with filelock.FileLock(lock):
        waiting = subprocess.Popen([gorun, "fetch", "acme/tiny"], env={**os.environ, "HF_HUB_CACHE": str(cache)}, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        while "waiting for another process" not in (line := waiting.stderr.readline()):
            assert line, "gorun does not wait for Python's lock"
        assert waiting.poll() is None and not (cache / "models--acme--tiny/blobs" / etag).exists()
    assert waiting.wait(60) == 0
    held("gorun waits for the lock of huggingface_hub, and goes on when it is free")


def readers(gorun, work):
    env = {"HF_HUB_CACHE": str(work / "ours")}
    load = "from transformers import AutoModelForCausalLM as A; m = A.from_pretrained('acme/tiny'); print(m.config.hidden_size)"
    assert python(load, HF_HUB_OFFLINE="1", **env) == "32"
    held("transformers loads offline what gorun fetched")
    url = run(gorun, "publish", str(GOLDEN / "adapter"), "--repo", "acme/mine", "--private", **env)
    assert url == os.environ["HF_ENDPOINT"] + "/acme/mine", url
    peft = """
from peft import PeftModel
from transformers import AutoModelForCausalLM as A
m = PeftModel.from_pretrained(A.from_pretrained('acme/tiny'), 'acme/mine')
print(sum(p.abs().sum().item() for n, p in m.named_parameters() if 'lora_B' in n) > 0)
"""
    assert python(peft, **env) == "True"
    held("PEFT loads the adapter that gorun published, weights and all")
    card = "from huggingface_hub import ModelCard as M; d = M.load('acme/mine').data; print(d.library_name, d.pipeline_tag, d.tags)"
    assert python(card, **env) == "peft text-generation ['lora', 'peft', 'gorun']"
    held("huggingface_hub reads the card")
    info = "from huggingface_hub import HfApi as A; i = A().model_info('acme/mine'); print(i.private, sorted(s.rfilename for s in i.siblings))"
    assert python(info, **env) == "True ['.gitattributes', 'README.md', 'adapter_config.json', 'adapter_model.safetensors']"
    held("the repository is private and has what was published")


def faithful(gorun, work):
    """The Hub of the tests is one to huggingface_hub too: what Python publishes there, gorun fetches."""
    code = f"""
from huggingface_hub import HfApi
api = HfApi()
api.create_repo('acme/theirs', private=True)
api.upload_folder(repo_id='acme/theirs', folder_path={str(GOLDEN)!r}, commit_message='by Python')
api.create_repo('acme/rows', repo_type='dataset')
api.upload_file(repo_id='acme/rows', repo_type='dataset', path_or_fileobj=b'{{}}', path_in_repo='train.jsonl')
print(api.model_info('acme/theirs').private)
"""
    env = {"HF_HUB_CACHE": str(work / "faithful"), "HF_HUB_DISABLE_XET": "1"}  # the Hub of the tests has no Xet storage
    assert python(code, **env) == "True"
    path = Path(run(gorun, "fetch", "acme/theirs", **env))
    assert (path / "model.safetensors").read_bytes() == (GOLDEN / "model.safetensors").read_bytes()
    assert (Path(run(gorun, "fetch", "--dataset", "acme/rows", **env)) / "train.jsonl").read_bytes() == b"{}"
    held("gorun fetches what huggingface_hub published")


def gated(gorun, work):
    env = {"HF_HUB_CACHE": str(work / "gated"), "HF_TOKEN": "", "HF_HOME": str(work / "home")}
    said = run(gorun, "fetch", "acme/gated", fails=True, **env)
    assert "request access at " + os.environ["HF_ENDPOINT"] + "/acme/gated" in said, said
    code = """
from huggingface_hub import hf_hub_download as d
from huggingface_hub.errors import GatedRepoError
try:
    d('acme/gated', 'config.json')
except GatedRepoError:
    print('gated')
"""
    assert python(code, **env) == "gated"
    run(gorun, "fetch", "acme/gated", **{**env, "HF_TOKEN": TOKEN})
    held("a gated model is refused to both without a token, and fetched with one")


def main():
    gorun, localhub = sys.argv[1:]
    with tempfile.TemporaryDirectory() as tmp:
        work = Path(tmp)
        server = subprocess.Popen([localhub, "-token", TOKEN, f"models/acme/tiny={GOLDEN}", f"models/acme/gated={GOLDEN},gated"], stdout=subprocess.PIPE, text=True)
        try:
            for name in ("HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
                os.environ.pop(name, None)
            os.environ.update(HF_ENDPOINT=server.stdout.readline().strip(), HF_TOKEN=TOKEN, HF_HUB_DISABLE_TELEMETRY="1")
            start = time.time()
            for part in (same_cache, same_lock, readers, faithful, gated):
                part(gorun, work)
            print(f"all held, in {time.time() - start:.0f} s")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


if __name__ == "__main__":
    main()
