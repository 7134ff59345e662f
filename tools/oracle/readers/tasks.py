"""lm-eval: the scores of a HellaSwag task on the merged SmolLM2, against gorun eval's on it and on base + adapter."""

import json
import pathlib
import random
import re


def hellaswag(path):
    """HellaSwag's format with what its preparation must handle."""
    rng = random.Random(5)
    things = ["a dog", "the old man", "Zo\u00eb", "A TALL WOMAN", "the chef"]
    acts = ["runs down the street", "cuts the bread [step] slowly", "opens the door.  It is cold", "plays na\u00efve songs", "sleeps", "washes the car [title] Dry it well"]
    ends = ["smiles", "goes on with it for a very long time", "stops", "\u6d4b\u8bd5"]
    with path.open("w") as f:
        for i in range(40):
            endings = [f"{rng.choice(acts)} and {rng.choice(ends)}." for _ in range(4)]
            a = f"{rng.choice(things)} {rng.choice(acts)}."
            f.write(json.dumps({"ind": i, "activity_label": rng.choice(["Cooking", "Home and Garden"]), "ctx_a": a, "ctx_b": rng.choice(["then he", "She THEN", ""]),
                                "endings": endings, "label": str(rng.randrange(4))}) + "\n")


def main(run):
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    data, tasks = run.work / "hellaswag.jsonl", run.work / "tasks"
    hellaswag(data)
    tasks.mkdir()
    utils = pathlib.Path(lm_eval.__file__).parent / "tasks" / "hellaswag" / "utils.py"
    (tasks / "utils.py").write_text(utils.read_text())
    (tasks / "local.yaml").write_text(
        f"task: local_hellaswag\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    validation: {data}\noutput_type: multiple_choice\nvalidation_split: validation\n"
        "process_docs: !function utils.process_docs\ndoc_to_text: '{{query}}'\ndoc_to_target: '{{label}}'\ndoc_to_choice: choices\n"
        "metric_list:\n  - metric: acc\n  - metric: acc_norm\n  - metric: acc_bytes\n")
    lm = HFLM(pretrained=str(run.work / "hf"), dtype="float32", device="cpu", batch_size=8)
    got = lm_eval.simple_evaluate(model=lm, tasks=["local_hellaswag"], task_manager=TaskManager(include_path=str(tasks), include_defaults=False))["results"]["local_hellaswag"]
    want = [round(got[f"{m},none"], 4) for m in ("acc", "acc_norm", "acc_bytes")]
    for base in (["--base", run.work / "hf"], ["--base", run.work / "base", "--adapter", run.work / "adapter"]):
        out = run("eval", "--task", "hellaswag", "--data", data, "--dtype", "f32", *base).splitlines()[-1]
        ours = [float(x) for x in re.findall(r"([\d.]+) \+-", out)]
        run.verdict("lm-eval, HellaSwag", ours == want, f"acc, acc_norm, acc_bytes {want}, gorun {ours}")
