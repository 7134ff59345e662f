"""Launches gorun's kernels by the CUDA driver alone, for compute-sanitizer: in XLA's process its racecheck crashes.

    launch.py FOLDER    # what 'model.hlo.test -test.run Kernel -dump FOLDER' writes

Every operand and result is an allocation of its own; operands are random, results and shared memory are as they come.
Needs libcuda.so.1 and NVRTC (libnvrtc.so.13 or .12, or the file that NVRTC names), and numpy.
"""

import ctypes
import glob
import json
import os
import sys

import numpy

cuda = ctypes.CDLL("libcuda.so.1")
pointer = ctypes.c_void_p


def check(status, what):
    if status:
        sys.exit(f"launch.py: {what}: error {status}")


def open_nvrtc():
    for path in [os.environ.get("NVRTC", "libnvrtc.so.13"), "libnvrtc.so.13", "libnvrtc.so.12"]:
        try:
            return ctypes.CDLL(path)
        except OSError:
            continue
    sys.exit("launch.py: no NVRTC among the system's libraries: name the file in NVRTC")


def compiled(nvrtc, launch, arch):
    program, size = pointer(), ctypes.c_size_t()
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), launch["source"].encode(), b"kernel.cu", 0, None, None), "create")
    options = [o.encode() for o in launch["options"]] + [b"--gpu-architecture=sm_%d" % arch, b"--generate-line-info"]
    check(nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options)), "compile " + launch["name"])
    check(nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)), "size")
    cubin = ctypes.create_string_buffer(size.value)
    check(nvrtc.nvrtcGetCUBIN(program, cubin), "cubin")
    return cubin


def values(text, rng):
    """Random values of a tensor such as 2x3xbf16, as bytes; whole numbers are places that every test has."""
    *dims, dtype = text.split("x")
    n = int(numpy.prod([int(d) for d in dims])) if dims else 1
    if dtype == "i32":
        return numpy.full(n, 20, numpy.int32).tobytes()
    x = rng.standard_normal(n).astype(numpy.float32)
    bits = x.view(numpy.uint32)
    return {
        "f32": lambda: bits,
        "bf16": lambda: (bits >> 16).astype(numpy.uint16),
        "f8E4M3FN": lambda: (bits >> 24).astype(numpy.uint8) & 0xBF,  # below 2, and a number
        "f8E5M2": lambda: (bits >> 24).astype(numpy.uint8) & 0xBF,
    }[dtype]().tobytes()


def run(nvrtc, launch, arch, rng):
    module, function = pointer(), pointer()
    check(cuda.cuModuleLoadData(ctypes.byref(module), compiled(nvrtc, launch, arch)), "load " + launch["name"])
    check(cuda.cuModuleGetFunction(ctypes.byref(function), module, launch["name"].encode()), "find " + launch["name"])
    check(cuda.cuFuncSetAttribute(function, 8, max(1, launch["shared"])), "shared memory of " + launch["name"])
    memory = []
    for i, text in enumerate(launch["operands"] + launch["results"]):
        data, at = values(text, rng), ctypes.c_uint64()
        check(cuda.cuMemAlloc_v2(ctypes.byref(at), ctypes.c_size_t(max(1, len(data)))), "allocate")  # some tensors are empty
        if i < len(launch["operands"]):
            check(cuda.cuMemcpyHtoD_v2(at, data, ctypes.c_size_t(len(data))), "copy")
        memory.append(at.value)
    # All parameters are pointers, one after the other, also where a kernel takes them as one struct.
    buffer = (ctypes.c_uint64 * len(memory))(*memory)
    size = ctypes.c_size_t(ctypes.sizeof(buffer))
    extra = (pointer * 5)(1, ctypes.addressof(buffer), 2, ctypes.addressof(size), 0)
    columns, rows = launch["grid"]
    check(cuda.cuLaunchKernel(function, columns, rows, 1, launch["threads"], 1, 1, launch["shared"], None, None, extra), "launch " + launch["name"])
    check(cuda.cuCtxSynchronize(), "run " + launch["name"])
    for at in memory:
        check(cuda.cuMemFree_v2(ctypes.c_uint64(at)), "free")
    check(cuda.cuModuleUnload(module), "unload")


def main():
    device, context, major, minor = ctypes.c_int(), pointer(), ctypes.c_int(), ctypes.c_int()
    check(cuda.cuInit(0), "cuInit")
    check(cuda.cuDeviceGet(ctypes.byref(device), 0), "device 0")
    check(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "context")
    check(cuda.cuCtxSetCurrent(context), "context")
    check(cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device), "compute capability")
    check(cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device), "compute capability")
    nvrtc, rng = open_nvrtc(), numpy.random.default_rng(1)
    files = sorted(glob.glob(os.path.join(sys.argv[1], "*.json")))
    for path in files:
        with open(path) as f:
            run(nvrtc, json.load(f), 10 * major.value + minor.value, rng)
    print(f"{len(files)} launches")
    if not files:
        sys.exit(1)


if __name__ == "__main__":
    main()
