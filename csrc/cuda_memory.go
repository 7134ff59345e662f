//go:build cgo

package csrc

/*
#include "cuda_memory.h"
*/
import "C"

import "unsafe"

// MemoryName is what another process of the machine finds a device's memory by.
type MemoryName [C.GORUN_CUDA_NAME]byte

// Move is a copy within the memory that a device can reach, of N bytes.
type Move struct {
	Dst, Src uintptr
	N        int
}

// Take takes n bytes of the device's memory from the driver, that other processes can be shown.
func (c CUDA) Take(n int) (uintptr, error) {
	var at C.uintptr_t
	var msg *C.char
	rc := C.gorun_cuda_take(c.c, C.size_t(n), &at, &msg)
	return uintptr(at), check("cuda", rc, &msg)
}

// GiveBack ends what Take began.
func (c CUDA) GiveBack(at uintptr) error {
	var msg *C.char
	return check("cuda", C.gorun_cuda_give_back(c.c, C.uintptr_t(at), &msg), &msg)
}

// Export names memory from Take.
func (c CUDA) Export(at uintptr) (name MemoryName, err error) {
	var msg *C.char
	rc := C.gorun_cuda_export(c.c, C.uintptr_t(at), (*C.char)(unsafe.Pointer(&name[0])), &msg)
	return name, check("cuda", rc, &msg)
}

// Import maps memory that another process has exported; Forget unmaps it.
func (c CUDA) Import(name MemoryName) (uintptr, error) {
	var at C.uintptr_t
	var msg *C.char
	rc := C.gorun_cuda_import(c.c, (*C.char)(unsafe.Pointer(&name[0])), &at, &msg)
	return uintptr(at), check("cuda", rc, &msg)
}

// Forget ends what Import began.
func (c CUDA) Forget(at uintptr) error {
	var msg *C.char
	return check("cuda", C.gorun_cuda_forget(c.c, C.uintptr_t(at), &msg), &msg)
}

// Copy queues copies on a stream, one after the other. Between two devices copy engines make them; within one the driver has
// a kernel for it.
func (c CUDA) Copy(moves []Move, s Stream) error {
	list := make([]C.gorun_cuda_move, len(moves))
	for i, m := range moves {
		list[i] = C.gorun_cuda_move{dst: C.uintptr_t(m.Dst), src: C.uintptr_t(m.Src), n: C.size_t(m.N)}
	}
	var msg *C.char
	rc := C.gorun_cuda_copy(c.c, unsafe.SliceData(list), C.size_t(len(list)), C.intptr_t(s), &msg)
	return check("cuda", rc, &msg)
}
