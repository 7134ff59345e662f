"""Golden renderings of chat templates by transformers, and of Jinja snippets by the same environment.

Writes model/chat/testdata/golden.json and model/chat/jinja/testdata/snippets.json. Run from the repository's root.
The clock stands at 2024-07-04 09:05:03.
"""

import datetime
import glob
import json
import os

import transformers.utils.chat_template_utils as utils


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 4, 9, 5, 3)


utils.datetime = Clock
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'Weather of a "city" & <more>.',
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "enum": [1, 2]}},
            "required": ["city"],
        },
        "return": {"type": "number"},
    },
}


def call(arguments, ident="abcdef123"):
    return {"id": ident, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}


CONVERSATIONS = {
    "one": [{"role": "user", "content": 'Hello, wörld! It\'s "me"\n  '}],
    "turns": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": " Hello. \n"},
        {"role": "user", "content": "1 < 2?"},
        {"role": "assistant", "content": "Yes"},
    ],
    "system": [
        {"role": "system", "content": "  Be brief. /no_think "},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYo"},
        {"role": "user", "content": "and?"},
        {"role": "assistant", "content": "<think>\nwell\n</think>\n\nSo."},
    ],
    "parts": [{"role": "user", "content": [{"type": "text", "text": " What? "}, {"type": "image"}]}],
    "call": [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [call({"city": "Köln", "days": 2, "f": 1.0, "b": True, "n": None})],
        },
        {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123", "content": "21.5"},
        {"role": "assistant", "content": "Warm."},
    ],
    "reasoning": [
        {"role": "user", "content": "2+2"},
        {"role": "assistant", "thinking": "add", "content": "4"},
        {"role": "user", "content": "3+3"},
        {"role": "assistant", "reasoning": "again", "content": "6"},
    ],
    "refused": [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}],
    "empty": [],
}


def render(template, messages, tools, prompt):
    mask = "{% generation" in template
    try:
        texts, spans = utils.render_jinja_template(
            conversations=[messages],
            tools=tools,
            chat_template=template,
            add_generation_prompt=prompt,
            return_assistant_tokens_mask=mask,
            **TOKENS,
        )
    except Exception as e:  # what a template raises, and what is wrong in it, are errors alike
        return {"error": type(e).__name__}
    out = {"text": texts[0]}
    if mask:  # places in bytes
        out["spans"] = [[len(texts[0][:a].encode()), len(texts[0][:b].encode())] for a, b in spans[0]]
    return out


def templates():
    cases = []
    for path in sorted(glob.glob("model/chat/testdata/templates/*.jinja")):
        with open(path, newline="") as f:
            template = f.read()
        for name, messages in CONVERSATIONS.items():
            for tools in [None, [WEATHER]] if name in ("one", "call", "system") else [None]:
                for prompt in [False, True] if name != "call" else [False]:
                    case = {"template": os.path.basename(path), "conversation": name, "tools": bool(tools), "prompt": prompt}
                    cases.append(case | render(template, messages, tools, prompt))
    return {"tokens": TOKENS, "tools": [WEATHER], "conversations": CONVERSATIONS, "cases": cases}


NAMES = {
    "s": "Hello, wörld",
    "words": ["b", "A", "c", "a"],
    "n": 7,
    "f": 2.5,
    "d": {"z": 1, "a": [1, 2.0, None, True], "k": {"it's": 'x"y'}},
    "users": [{"name": "Bo", "age": 3, "tags": ["x"]}, {"name": "al", "age": 30}, {"name": "Cy", "age": 3}],
    "none": None,
    "big": 12345678901234567890,
}


def snippets():
    with open("tools/oracle/snippets.txt") as f:
        sources = f.read().split("\n====\n")
    cases = []
    for source in sources:
        source = source.rstrip("\n") if source is sources[-1] else source
        try:
            template = utils._compile_jinja_template(source)
            cases.append({"source": source, "text": template.render(**NAMES)})
        except Exception as e:
            cases.append({"source": source, "error": type(e).__name__})
    return {"names": NAMES, "cases": cases}


def write(path, value):
    with open(path, "w") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


write("model/chat/testdata/golden.json", templates())
write("model/chat/jinja/testdata/snippets.json", snippets())
