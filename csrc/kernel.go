//go:build cgo

package csrc

/*
#include <stdlib.h>
#include "kernel.h"
*/
import "C"

import "unsafe"

// KernelTarget is the custom call that launches a kernel of ours: its operands and then its results are the kernel's
// parameters, its attribute "kernel" (i64) is the kernel's number.
const KernelTarget = "gorun_kernel"

// Launch is a kernel's number and how it is launched.
type Launch struct {
	ID      int64
	Grid    [2]int
	Threads int
	Shared  int // bytes of dynamic shared memory
}

var kernelCalls = customCalls{calls: []customCall{{KernelTarget, C.gorun_ffi_kernel_host, C.gorun_ffi_kernel_cuda, C.FFI_RECORDS}}}

// RegisterKernels makes KernelTarget known to the plugin's programs on a platform, "cuda" or "cpu". Programs that call
// kernels can be compiled or loaded only afterwards.
func (p *Plugin) RegisterKernels(platform string) error { return kernelCalls.register(p, platform) }

// NVRTC is CUDA's run-time compiler. Its methods may be called from several goroutines.
type NVRTC struct{ Major, Minor int }

// OpenNVRTC loads the compiler's library.
func OpenNVRTC(path string) (n NVRTC, err error) {
	file := C.CString(path)
	defer C.free(unsafe.Pointer(file))
	var msg *C.char
	if err := check("load "+path, C.gorun_nvrtc_open(file, &msg), &msg); err != nil {
		return n, err
	}
	var major, minor C.int
	rc := C.gorun_nvrtc_version(&major, &minor, &msg)
	return NVRTC{int(major), int(minor)}, check("version of "+path, rc, &msg)
}

// Compile makes a cubin of CUDA C; name is for messages.
func (NVRTC) Compile(source, name string, options []string) ([]byte, error) {
	text, what := C.CString(source), C.CString(name)
	defer C.free(unsafe.Pointer(text))
	defer C.free(unsafe.Pointer(what))
	list := (**C.char)(C.calloc(C.size_t(len(options)+1), C.size_t(unsafe.Sizeof(text))))
	defer C.free(unsafe.Pointer(list))
	for i, o := range options {
		s := C.CString(o)
		defer C.free(unsafe.Pointer(s))
		unsafe.Slice(list, len(options))[i] = s
	}
	var cubin, msg *C.char
	var n C.size_t
	rc := C.gorun_nvrtc_compile(text, what, list, C.int(len(options)), &cubin, &n, &msg)
	if err := check("compile kernel "+name, rc, &msg); err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(cubin))
	return C.GoBytes(unsafe.Pointer(cubin), C.int(n)), nil
}

// CUDAArch is the compute capability of a GPU, by the driver's number of it: 90 for 9.0.
func CUDAArch(device int) (int, error) {
	var arch C.int
	var msg *C.char
	rc := C.gorun_cuda_arch(C.int(device), &arch, &msg)
	return int(arch), check("ask the NVIDIA driver", rc, &msg)
}

// LoadKernel makes the kernel called name of a cubin ready on a GPU, and known by its number in the whole process.
func LoadKernel(device int, cubin []byte, name string, l Launch) error {
	data, what := C.CBytes(cubin), C.CString(name)
	defer C.free(data)
	defer C.free(unsafe.Pointer(what))
	launch := C.gorun_launch{C.int64_t(l.ID), C.uint(l.Grid[0]), C.uint(l.Grid[1]), C.uint(l.Threads), C.uint(l.Shared)}
	var msg *C.char
	return check("load kernel "+name, C.gorun_kernel_load(C.int(device), (*C.char)(data), what, &launch, &msg), &msg)
}

// EmulateKernel makes a kernel that was compiled for the CPU into a library known by its number.
func EmulateKernel(library string, id int64) error {
	path := C.CString(library)
	defer C.free(unsafe.Pointer(path))
	var msg *C.char
	return check("load "+library, C.gorun_kernel_emulate(path, C.int64_t(id), &msg), &msg)
}

// KernelKnown tells whether a kernel of that number is ready.
func KernelKnown(id int64) bool { return C.gorun_kernel_known(C.int64_t(id)) != 0 }
