"""gorun generate --chat on a terminal: it asks for turns, remembers them, and says what transformers says."""

import os
import pty
import select
import time

from common import load

SYSTEM, TURNS, TOKENS = "You are brief.", ["My name is Zelda. Say hello.", "What is my name?"], 24


def on_terminal(run, base):
    """The answers to the turns, and the exit code after the end of the input."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(run.gorun, [run.gorun, "generate", "--base", str(base), "--chat", "--max-tokens", str(TOKENS), "--system", SYSTEM, "--device", "cpu", "--dtype", "f32"])

    def until(text, limit):
        out, end = "", time.time() + limit
        while text not in out and time.time() < end:
            if select.select([terminal], [], [], 1)[0]:
                try:
                    out += os.read(terminal, 4096).decode(errors="replace")
                except OSError:  # it has ended
                    break
        return out

    answers, prompt = [], "> "
    until(prompt, 300)
    for turn in TURNS:
        os.write(terminal, turn.encode() + b"\n")
        shown = until("\n" + prompt, 300).replace("\r\n", "\n")
        answers.append(shown.removeprefix(turn + "\n").removesuffix("\n" + prompt))
    os.write(terminal, b"\x04")  # end of input
    until("\0", 30)
    return answers, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def by_transformers(base):
    from transformers import AutoTokenizer

    tok, model = AutoTokenizer.from_pretrained(base), load(base)
    said, answers = [{"role": "system", "content": SYSTEM}], []
    for turn in TURNS:
        said.append({"role": "user", "content": turn})
        ids = tok.apply_chat_template(said, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        out = model.generate(**ids, max_new_tokens=TOKENS, do_sample=False)[0][ids["input_ids"].shape[1]:]
        answers.append(tok.decode(out, skip_special_tokens=True))
        said.append({"role": "assistant", "content": answers[-1]})
    return answers


def main(run):
    base = run.work / "base"
    (answers, code), want = on_terminal(run, base), by_transformers(base)
    run.verdict("chat on a terminal", answers == want and code == 0, f"exit code {code}; the same answers as by transformers: {answers}" if answers == want else f"exit code {code}; {answers}, not {want}")
