"""Fixtures of model/safetensors and model/gguf, written by the reference libraries.

Writes model/safetensors/testdata (files by the safetensors library, and what it says of damaged ones) and
model/gguf/testdata (a file with every tensor type and metadata type, and its values in float32 as
gguf.quants gives them). safetensors 0.8.0, gguf 0.19.0.

    python tools/oracle/formats.py              write them
    python tools/oracle/formats.py --check      compare with what is there, write nothing
    python tools/oracle/formats.py --demo FILE  also write model/gguf/testdata/demo.sha256, the digest of
                                                each tensor of a real GGUF file in float32
"""

import argparse
import base64
import hashlib
import json
import pathlib
import shutil
import struct
import sys
import tempfile

import gguf
import numpy as np
import safetensors
import torch
from gguf import GGMLQuantizationType as Q
from gguf import GGUFValueType as V
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]

# ---------------------------------------------------------------------------------------- safetensors


def every_dtype():
    """One tensor of each dtype, names that need escaping, a scalar and empty tensors."""
    rng = np.random.default_rng(1)
    names = ["uint64", "int64", "float64", "complex64", "float32", "uint32", "int32", "bfloat16", "float16", "uint16", "int16"]
    names += ["float8_e5m2fnuz", "float8_e4m3fnuz", "float8_e8m0fnu", "float8_e4m3fn", "float8_e5m2", "int8", "uint8"]
    tensors = {}
    for i, name in enumerate(names):
        dtype = getattr(torch, name)
        raw = rng.integers(0, 256, size=(2, 3 + i, dtype.itemsize), dtype=np.uint8)
        tensors[f"t.{name}"] = torch.from_numpy(raw).view(dtype).reshape(2, 3 + i)
    tensors["t.bool"] = torch.tensor([True, False, True])
    tensors["scalar"] = torch.tensor(-2.5)
    tensors["empty"] = torch.zeros(0, 7)
    tensors["also empty"] = torch.zeros(3, 0)
    tensors['\u00e9 "quoted" \\ \b\t\n\x0b\f\r\x01\x7f <&> \u2028 \U0001f600 /'] = torch.arange(4.0)
    tensors["layers.10.w"] = torch.arange(6, dtype=torch.float32).reshape(1, 2, 3)
    tensors["layers.2.w"] = torch.arange(6, dtype=torch.float32).reshape(3, 2)
    return tensors


F32 = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


def f32(shape, begin, end, dtype="F32"):
    return json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]})


# Headers and the size of the data behind them.
HEADERS = {
    "good": ('{"a":%s}' % F32, 4),
    "space around": (' \n{"a":%s} \t' % F32, 4),
    "unknown field": ('{"a":{"dtype":"F32","more":[{}],"shape":[1],"data_offsets":[0,4]}}', 4),
    "null metadata": ('{"__metadata__":null,"a":%s}' % F32, 4),
    "no tensors": ("{}", 0),
    "name is empty": ('{"":%s}' % F32, 4),
    "order of offsets": ('{"a":%s,"b":%s}' % (f32([2], 4, 12), f32([1], 0, 4)), 12),
    "empty tensors": ('{"a":%s,"b":%s,"c":%s}' % (f32([0], 0, 0), f32([1], 0, 4), f32([2, 0], 4, 4)), 4),
    "escaped name": ('{"\\u0061\\n":%s}' % F32, 4),
    "not json": ("{a}", 0),
    "comma at the end": ('{"a":%s,}' % F32, 4),
    "zero byte after": ('{"a":%s}\0' % F32, 4),
    "list": ("[]", 0),
    "number": ("1", 0),
    "empty header": ("", 0),
    "control character": ('{"a\n":%s}' % F32, 4),
    "metadata is a list": ('{"__metadata__":[],"a":%s}' % F32, 4),
    "metadata of a number": ('{"__metadata__":{"n":1},"a":%s}' % F32, 4),
    "metadata of null": ('{"__metadata__":{"n":null},"a":%s}' % F32, 4),
    "metadata twice": ('{"__metadata__":{},"__metadata__":{},"a":%s}' % F32, 4),
    "field twice": ('{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
    "upper-case field": ('{"a":{"DType":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
    "no dtype": ('{"a":{"shape":[1],"data_offsets":[0,4]}}', 4),
    "no shape": ('{"a":{"dtype":"F32","data_offsets":[0,4]}}', 4),
    "no offsets": ('{"a":{"dtype":"F32","shape":[1]}}', 4),
    "unknown dtype": ('{"a":%s}' % f32([1], 0, 4, "F31"), 4),
    "lower-case dtype": ('{"a":%s}' % f32([1], 0, 4, "f32"), 4),
    "dtype is a number": ('{"a":%s}' % f32([1], 0, 4, 32), 4),
    "shape is a number": ('{"a":%s}' % f32(1, 0, 4), 4),
    "fraction in shape": ('{"a":%s}' % f32([1.0], 0, 4), 4),
    "negative dimension": ('{"a":%s}' % f32([-1], 0, 4), 4),
    "huge dimension": ('{"a":%s}' % f32([2**64], 0, 4), 4),
    "shape overflows": ('{"a":%s}' % f32([2**32, 2**32, 0], 0, 0), 0),
    "size overflows": ('{"a":%s}' % f32([2**62], 0, 0), 0),
    "three offsets": ('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}', 4),
    "offsets backwards": ('{"a":%s}' % f32([1], 4, 0), 4),
    "begins late": ('{"a":%s}' % f32([1], 4, 8), 8),
    "gap": ('{"a":%s,"b":%s}' % (f32([1], 0, 4), f32([1], 8, 12)), 12),
    "overlap": ('{"a":%s,"b":%s}' % (f32([2], 0, 8), f32([2], 4, 12)), 12),
    "same data twice": ('{"a":%s,"b":%s}' % (F32, F32), 4),
    "too few bytes": ('{"a":%s}' % f32([2], 0, 4), 4),
    "too many bytes": ('{"a":%s}' % f32([1], 0, 8), 8),
    "data cut short": ('{"a":%s}' % F32, 3),
    "data left over": ('{"a":%s}' % F32, 5),
    "offsets beyond": ('{"a":%s}' % f32([2**40], 0, 2**42), 4),
}


def damaged():
    """Whole files, by name: the headers above, and what is wrong outside of a header."""
    files = {name: struct.pack("<Q", len(h.encode())) + h.encode() + bytes(n) for name, (h, n) in HEADERS.items()}
    files["not utf-8"] = struct.pack("<Q", 5 + len(F32)) + b'{"\xff":' + F32.encode() + b"}" + bytes(4)
    files["file is empty"] = b""
    files["seven bytes"] = bytes(7)
    files["length too large"] = struct.pack("<Q", 100_000_001) + b"{}"
    files["length all ones"] = b"\xff" * 8 + b"{}"
    files["header cut short"] = struct.pack("<Q", 64) + b'{"a":'
    return files


def verdicts():
    out = []
    for name, body in damaged().items():
        try:
            safetensors.deserialize(body)
            refused = False
        except safetensors.SafetensorError:  # its text depends on the order of a hash map
            refused = True
        out.append({"name": name, "file": base64.b64encode(body).decode(), "refused": refused})
    return out


def make_safetensors(out):
    tensors = every_dtype()
    save_file(tensors, out / "all.safetensors", metadata={"format": "pt"})
    save_file({"a": torch.arange(3.0)}, out / "plain.safetensors")
    sharded = out / "sharded"
    sharded.mkdir()
    shards = {
        "model-00001-of-00002.safetensors": {"b": torch.arange(4.0).reshape(2, 2), "a": torch.arange(3, dtype=torch.int64)},
        "model-00002-of-00002.safetensors": {"c": torch.full((2, 3), 1.5, dtype=torch.bfloat16)},
    }
    weight_map = {}
    for name, content in shards.items():
        save_file(content, sharded / name, metadata={"format": "pt"})
        weight_map.update({t: name for t in content})
    index = {"metadata": {"total_size": 52, "total_parameters": 13}, "weight_map": weight_map}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")
    (out / "verdicts.json").write_text(json.dumps(verdicts(), indent=1) + "\n")


# ----------------------------------------------------------------------------------------------- gguf

QUANTS = [Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.Q4_K, Q.Q5_K, Q.Q6_K]
HALVES = {Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0], Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208]}


def blocks(rng, kind, rows, cols):
    """Random bits, so every field of a block is exercised, with finite scales: large, small, negative, subnormal, 0."""
    size, width = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, size=(rows * cols // size, width), dtype=np.uint8)
    for at in HALVES[kind]:
        scale = (rng.standard_normal(len(raw)) * 10.0 ** rng.integers(-6, 3, len(raw))).astype(np.float16)
        raw[:, at : at + 2] = scale.view(np.uint8).reshape(-1, 2)
    raw[0, HALVES[kind][0] : HALVES[kind][0] + 2] = 0
    return raw.reshape(rows, -1)


def gguf_tensors():
    rng = np.random.default_rng(2)
    plain = rng.standard_normal((2, 3, 32)).astype(np.float32)
    half = rng.standard_normal((3, 32)).astype(np.float16)
    half[0, :12] = np.array([0, 0x8000, 1, 0x8001, 0x3FF, 0x400, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00, 0x3C00], dtype=np.uint16).view(np.float16)
    brain = gguf.quantize(rng.standard_normal((3, 32)).astype(np.float32), Q.BF16)
    brain[0, :12] = np.array([0x8000, 1, 0x7F7F, 0x7F80, 0xFF80, 0x7FC0], dtype=np.uint16).view(np.uint8)
    yield "f32", plain, Q.F32
    yield "f16", half, Q.F16
    yield "bf16", brain, Q.BF16
    yield "scalars", rng.standard_normal(5).astype(np.float32), Q.F32
    for kind in QUANTS:
        cols = 768 if gguf.GGML_QUANT_SIZES[kind][0] == 256 else 96
        yield kind.name.lower(), blocks(rng, kind, 2, cols), kind
    real = (rng.standard_normal((3, 64)) * 0.02).astype(np.float32)
    for kind in [Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0]:  # the package does not quantise to the K types
        yield "real." + kind.name.lower(), gguf.quantize(real, kind), kind
    yield "vector.q8_0", gguf.quantize(rng.standard_normal(96).astype(np.float32), Q.Q8_0), Q.Q8_0


def make_gguf(out):
    w = gguf.GGUFWriter(out / "all.gguf", "llama")
    w.add_custom_alignment(64)
    w.add_uint8("t.uint8", 200)
    w.add_int8("t.int8", -100)
    w.add_uint16("t.uint16", 60000)
    w.add_int16("t.int16", -30000)
    w.add_uint32("t.uint32", 4000000000)
    w.add_int32("t.int32", -2000000000)
    w.add_float32("t.float32", 0.1)
    w.add_uint64("t.uint64", 2**64 - 1)
    w.add_int64("t.int64", -(2**63))
    w.add_float64("t.float64", 0.1)
    w.add_bool("t.bool", True)
    w.add_string("t.string", "\u00e9 \U0001f600\n")
    w.add_key_value("t.nothing", "", V.STRING)
    for kind, values in {
        V.UINT8: [1, 200], V.INT8: [1, -100], V.UINT16: [60000], V.INT16: [-30000, 2], V.UINT32: [4000000000], V.INT32: [1, -2],
        V.UINT64: [2**64 - 1], V.INT64: [-(2**63), 3], V.FLOAT32: [0.5, -1.25], V.FLOAT64: [0.1], V.BOOL: [True, False], V.STRING: ["a", "", "\u00e9"],
    }.items():  # fmt: skip
        w.add_key_value(f"l.{kind.name.lower()}", values, V.ARRAY, kind)
    w.add_array("l.nested", [[1, 2], [3]])
    w.add_array("l.deep", [[["x"], ["y", "z"]]])
    golden = bytearray()
    for name, data, kind in gguf_tensors():
        w.add_tensor(name, data, raw_dtype=kind)
        golden += gguf.dequantize(data, kind).astype("<f4").tobytes()
    w.add_tensor("ids", np.arange(4, dtype=np.int32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    (out / "all.f32").write_bytes(golden)
    make_written(out)


def make_written(out):
    """What gguf.Write must write byte for byte: one tensor of every type that it stores, ties and subnormals included."""
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((3, 64)) * 10.0 ** rng.integers(-9, 5, (3, 64))).astype(np.float32)
    x[0, :8] = [0, -0.0, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 2.0**-25, 65504]
    x[1, :32] = 0
    x[2, :32] = np.arange(32) - 15.5  # halves, once the scale of 127 is out
    x[2, 31] = 127
    w = gguf.GGUFWriter(out / "written.gguf", "llama")
    w.add_string("general.name", "\u00e9")
    w.add_uint32("llama.block_count", 2)
    w.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    w.add_bool("tokenizer.ggml.add_bos_token", True)
    w.add_token_list(["a", "", "\u00e9"])
    w.add_token_types([1, 3, 1])
    w.add_token_scores([0.5, -1.0, 0.0])
    for kind in [Q.F32, Q.F16, Q.BF16, Q.Q8_0]:
        data = gguf.quantize(x, kind)
        w.add_tensor(kind.name, data, raw_dtype=kind)
    w.add_tensor("vector", x[0, :5].copy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def demo_digests(path):
    """name type sha256, of every tensor in float32."""
    lines = []
    for t in gguf.GGUFReader(path).tensors:
        values = gguf.dequantize(t.data, t.tensor_type).astype("<f4")
        lines.append(f"{t.name} {t.tensor_type.name} {hashlib.sha256(values.tobytes()).hexdigest()}\n")
    return "".join(lines)


# ----------------------------------------------------------------------------------------------- main


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--demo")
    args = parser.parse_args()
    differ = []
    for package, make in [("safetensors", make_safetensors), ("gguf", make_gguf)]:
        home = ROOT / "model" / package / "testdata"
        with tempfile.TemporaryDirectory() as tmp:
            out = pathlib.Path(tmp)
            make(out)
            if package == "gguf" and args.demo:
                (out / "demo.sha256").write_text(demo_digests(args.demo))
            for new in sorted(p for p in out.rglob("*") if p.is_file()):
                old = home / new.relative_to(out)
                if not args.check:
                    old.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(new, old)
                elif not old.exists() or old.read_bytes() != new.read_bytes():
                    differ.append(str(old.relative_to(ROOT)))
    if differ:
        sys.exit("differ from the reference libraries: " + ", ".join(differ))


if __name__ == "__main__":
    main()
