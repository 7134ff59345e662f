"""Which tokens are trained on: gorun's against transformers' by TRL's training templates, and NeMo AutoModel's.

TRL ships, for many models, the chat template and the same with {% generation %} about what the assistant writes;
transformers makes the mask of the latter. gorun gets both: the marked one must give the same tokens and mask, and of the
plain one gorun must find the turns by itself, or refuse. TRL trains on white space after a turn's end too, which gorun
leaves out: it is moved out of the brackets before texts are compared.
"""

import importlib.util
import json
import re
import shutil
import subprocess

from common import Failed

TALK = [{"role": "user", "content": "Hi, who are you?"}, {"role": "assistant", "content": "I am Bo."},
        {"role": "user", "content": "Add 1 and 2."}, {"role": "assistant", "content": "It is 3.\nReally."}]

# Plain templates that TRL changes beyond marking: what it trains on there is not what the model's own template writes.
OTHERS = {
    "glm4moe": "TRL ends a turn with the next one's header",
    "muse_glimmer": "TRL trains on the turn's header too",
    "qwen2_5": "TRL begins a turn with the header's newline",
    "qwen3": "TRL keeps the reasoning of earlier turns",
    "qwen3_8": "TRL trains on <think>, which the generation prompt has",
}


def marked(tok, ids, mask):
    """The text of ids with [[ ]] about what is trained on."""
    runs = []
    for i, m in zip(ids, mask):
        if not runs or runs[-1][0] != bool(m):
            runs.append((bool(m), []))
        runs[-1][1].append(i)
    return "".join(("[[%s]]" if m else "%s") % tok.decode(r) for m, r in runs)


def tidy(text):
    return re.sub(r"(\s+)\]\]", r"]]\1", text).rstrip()


def talk(run, model, template):
    """What gorun says of the talk by a template: the text with marks, tokens, and how many are trained on."""
    (model / "chat_template.jinja").write_text(template)
    out = subprocess.run([run.gorun, "tokenize", "--model", str(model), "--chat", "-"], input=json.dumps({"messages": TALK}) + "\n", capture_output=True, text=True)
    if out.returncode:
        if "{% generation %}" not in out.stderr:
            raise Failed(out.stderr)
        return None
    head, _, body = out.stdout.partition("\n")
    return body, *map(int, re.search(r"(\d+) tokens, (\d+) trained on", head).groups())


def trl(run, templates):
    from transformers import AutoTokenizer

    model = run.work / "masks"
    model.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(run.work / "base" / name, model)
    config = json.loads((model / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    tok = AutoTokenizer.from_pretrained(model)
    same, plain, refused, bad = 0, 0, [], []
    for path in sorted(templates.glob("*_training.jinja")):
        name, template = path.name.removesuffix("_training.jinja"), path.read_text()
        try:
            want = tok.apply_chat_template(TALK, chat_template=template, return_dict=True, return_assistant_tokens_mask=True)
        except Exception:  # a template for pictures, which refuses text
            continue
        ids, mask = want["input_ids"], want["assistant_masks"]
        text = marked(tok, ids, mask)
        body, tokens, trained = talk(run, model, template)
        # A last token is a label, but never fed to the model.
        if body.rstrip("\n") == text.rstrip("\n") and trained == sum(mask) and tokens in (len(ids), len(ids) - 1):
            same += 1
        else:
            bad.append(f"{name}, marked: {body!r} ({tokens}, {trained}), not {text!r} ({len(ids)}, {sum(mask)})")
        if name in OTHERS:
            continue
        own = talk(run, model, (templates / f"{name}.jinja").read_text())
        if own is None:
            refused.append(name)
        elif tidy(own[0]) == tidy(text):
            plain += 1
        else:
            bad.append(f"{name}, plain: {own[0]!r}, not {text!r}")
    run.verdict("TRL's training templates", not bad and same > 20, f"{same} give the same tokens and mask as in transformers; of the plain ones {plain} the same turns, refused {', '.join(refused)}")
    for b in bad:
        print("   ", b)


def automodel(run, package):
    """SQuAD as AutoModel prepares it, by its own file, against dataset.compat = "automodel"."""
    from transformers import AutoTokenizer

    spec = importlib.util.spec_from_file_location("formatting_utils", package / "components" / "datasets" / "llm" / "formatting_utils.py")
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    tok = AutoTokenizer.from_pretrained(run.work / "base")
    tok.chat_template = None
    rows = [{"context": c, "question": q, "answers": {"text": [a], "answer_start": [0]}} for c, q, a in [
        ("The Normans came in 1066.", "When did they come?", "1066"), ("Zo\u00eb wrote it.", "Who?", " Zo\u00eb "),
        ("A \u6d4b\u8bd5 of words.", "What of?", "words, and more words"), ("It was (cold).", "How was it?", "(cold)")]]
    data = run.work / "squad.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    recipe = run.work / "squad.toml"
    recipe.write_text(f'[model]\npretrained_model_name_or_path = "{run.work / "base"}"\n[peft]\n[dataset]\npath_or_id = "{data}"\ncompat = "automodel"\n')
    shown = run("plan", recipe, "--show-samples", len(rows))
    ours = re.findall(r":\d+ \((\d+) tokens, (\d+) trained on\)\n(.*)", shown)
    bad = []
    for row, (tokens, trained, text) in zip(rows, ours, strict=True):
        prompt = f"Context: {row['context']} Question: {row['question']} Answer: "
        want = theirs.format_prompt_completion(tok, prompt, row["answers"]["text"][0].strip(), tok.eos_token_id, tok.pad_token_id or tok.eos_token_id)
        ids = want["input_ids"] + [i for i in want["labels"][-1:] if i != -100]
        mask = [0] + [i != -100 for i in want["labels"]]
        if (int(tokens), int(trained)) != (len(want["input_ids"]), sum(mask)) or text != marked(tok, ids, mask[: len(ids)]):
            bad.append(f"{text!r} ({tokens}, {trained}), not {marked(tok, ids, mask)!r} ({len(want['input_ids'])}, {sum(mask)})")
    run.verdict("AutoModel's SQuAD", not bad, f"{len(rows)} samples have the same tokens and labels" if not bad else "; ".join(bad))


def main(run, trl_package, automodel_package):
    trl(run, trl_package / "chat_templates")
    automodel(run, automodel_package)
