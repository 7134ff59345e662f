"""Golden cases for model/tokenizer: small tokenizers of several kinds trained on this Python's own library, with ids,
offsets (bytes) and decoded text from Hugging Face's tokenizers.

    python tokenizer.py OUT_DIR                 the trained ones
    python tokenizer.py OUT_DIR --gguf FILE     cases of a GGUF file's tokenizer, by transformers
"""
import glob, json, os, sys, sysconfig
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CASES = ["Hello world", "Hello, world! It's 2024-01-05.", "  leading", "trailing  ", "a\n\nb", "a \n b", "tabs\t\tand\r\nCRLF",
         "I'll we've DON'T you're", "1234567890 3.14159", "naïve café Ångström", "日本語のテキスト、混在ABC123", "🙂👩‍👩‍👧 emoji",
         "def f(x):\n    return x**2  # ok\n", "\u00a0nbsp\u2003em", "مرحبا بالعالم", "<s>special</s> mid", "x<pad>y z <pad> w", "e\u0301 vs \u00e9",
         "Ⅷ ½ ٣٤", "   ", "\n", "", "a" * 50, "foo_bar-baz.qux/quux", "price: $1,234.56 (50%)", "a\u200bzero", "\U0001d4d7\U0001d4ee",
         "don’t", "\t\n \t\n x", "''''s", "A'Ll b", "one  two   three", "▁ mark", "Context: x Question: y Answer: z"]
FILES = sorted(glob.glob(sysconfig.get_paths()["stdlib"] + "/*.py"))[:60]
SPECIAL = [AddedToken("<unk>", special=True), AddedToken("<s>", special=True), AddedToken("</s>", special=True),
           AddedToken("<pad>", special=False, lstrip=True, normalized=False)]


def byte_offsets(text, offsets):
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    return [[at[a], at[b]] for a, b in offsets]


def cases(encode, decode):
    out = []
    for text in CASES:
        ids, offsets = encode(text)
        out.append({"text": text, "ids": ids, "offsets": byte_offsets(text, offsets), "decoded": decode(ids)})
    return out


def trained():
    gpt2 = Tokenizer(models.BPE())
    gpt2.pre_tokenizer, gpt2.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    gpt2.post_processor = processors.ByteLevel(trim_offsets=False)
    smol = Tokenizer(models.BPE())
    smol.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    smol.decoder = decoders.ByteLevel()
    llama = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    llama.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    llama.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    meta = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    meta.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    meta.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    for name, t in dict(gpt2=gpt2, smol=smol, llama=llama, meta=meta).items():
        byte = name in ("gpt2", "smol")
        special = list(SPECIAL)
        if not byte:
            special += [AddedToken(f"<0x{b:02X}>", special=False) for b in range(256)]
        t.train(FILES, trainers.BpeTrainer(vocab_size=900, special_tokens=special, show_progress=False, limit_alphabet=256 if byte else 200,
                                           initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if byte else []))
        d = json.loads(t.to_str())
        if not byte:  # bytes are ordinary tokens of the vocabulary, as SentencePiece has them
            d["added_tokens"] = [a for a in d["added_tokens"] if not a["content"].startswith("<0x")]
            t = Tokenizer.from_str(json.dumps(d))
            t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", t.token_to_id("<s>"))])
        yield name, t


def main(out, gguf=None):
    os.makedirs(out, exist_ok=True)
    if gguf:
        from transformers import AutoTokenizer
        t = AutoTokenizer.from_pretrained(os.path.dirname(gguf), gguf_file=os.path.basename(gguf))
        def encode(text):
            e = t(text, add_special_tokens=False, return_offsets_mapping=True)
            return e["input_ids"], e["offset_mapping"]
        # transformers reads a GGUF file without the digit splitting that the model was trained with, so digits other
        # than 0-9, for which the vocabulary has merges, come out otherwise than from the model's own tokenizer.json.
        CASES.remove("Ⅷ ½ ٣٤")
        json.dump(cases(encode, lambda ids: t.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)), open(f"{out}/gguf_cases.json", "w"))
        return
    for name, t in trained():
        t.save(f"{out}/{name}_tokenizer.json", pretty=False)
        def encode(text):
            e = t.encode(text, add_special_tokens=False)
            return e.ids, e.offsets
        json.dump(cases(encode, lambda ids: t.decode(ids, skip_special_tokens=False)), open(f"{out}/{name}_cases.json", "w"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3] if len(sys.argv) > 3 else None)
