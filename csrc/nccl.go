//go:build cgo

package csrc

/*
#include <stdlib.h>
#include "nccl.h"
*/
import "C"

import (
	"unsafe"

	"github.com/gomlx/compute/dtypes"
)

// NCCL is NVIDIA's library of collectives.
type NCCL struct {
	n       *C.gorun_nccl
	version int
}

// NCCLComm is a communicator of NCCL; its owner ends it by Destroy or Abort.
type NCCLComm struct{ p unsafe.Pointer }

// Valid tells whether the handle is set.
func (c NCCLComm) Valid() bool { return c.p != nil }

// UniqueID is what the ranks of a communicator find each other by.
type UniqueID [C.GORUN_NCCL_ID]byte

// NCCLKind is a kind of collective.
type NCCLKind C.gorun_nccl_kind

// The kinds of collective.
const (
	NCCLAllReduce     NCCLKind = C.GORUN_NCCL_ALL_REDUCE
	NCCLAllGather     NCCLKind = C.GORUN_NCCL_ALL_GATHER
	NCCLReduceScatter NCCLKind = C.GORUN_NCCL_REDUCE_SCATTER
	NCCLBroadcast     NCCLKind = C.GORUN_NCCL_BROADCAST
	NCCLReduce        NCCLKind = C.GORUN_NCCL_REDUCE
)

// NCCLOp is one collective on the device's memory; what reduces, sums.
type NCCLOp struct {
	Kind     NCCLKind
	DType    dtypes.DType
	Root     int // of a broadcast or reduction
	Src, Dst uintptr
	Count    int // elements: of one rank's part for all-gather and reduce-scatter, else of the whole
}

// ncclTypes are NCCL's numbers of element types.
var ncclTypes = map[dtypes.DType]C.int{dtypes.Uint8: 1, dtypes.Int32: 2, dtypes.Float32: 7, dtypes.BFloat16: 9}

// LoadNCCL opens the library at path. One process must load only one, so it is to be the one that XLA's plugin finds.
func LoadNCCL(path string) (*NCCL, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var n NCCL
	var version C.int
	var msg *C.char
	rc := C.gorun_nccl_load(name, &n.n, &version, &msg)
	if err := check("load NCCL "+path, rc, &msg); err != nil {
		return nil, err
	}
	n.version = int(version)
	return &n, nil
}

// Version is the library's: 22809 is 2.28.9.
func (n *NCCL) Version() int { return n.version }

// NewUniqueID makes an id for one communicator.
func (n *NCCL) NewUniqueID() (id UniqueID, err error) {
	var msg *C.char
	rc := C.gorun_nccl_unique_id(n.n, (*C.char)(unsafe.Pointer(&id[0])), &msg)
	return id, check("nccl: unique id", rc, &msg)
}

// Init begins to join the ranks that have the same id, on device c.
func (n *NCCL) Init(c CUDA, size, rank int, id UniqueID) (NCCLComm, error) {
	var comm NCCLComm
	var msg *C.char
	rc := C.gorun_nccl_init(n.n, c.c, C.int(size), C.int(rank), (*C.char)(unsafe.Pointer(&id[0])), &comm.p, &msg)
	return comm, check("nccl: join", rc, &msg)
}

// Splitting is a communicator in the making.
type Splitting struct{ slot *unsafe.Pointer }

// Split begins to make the communicator of the parent's ranks that give the same color, in the order of their keys.
func (n *NCCL) Split(c CUDA, parent NCCLComm, color, key int) (Splitting, error) {
	s := Splitting{(*unsafe.Pointer)(C.calloc(1, C.size_t(unsafe.Sizeof(uintptr(0)))))}
	var msg *C.char
	rc := C.gorun_nccl_split(n.n, c.c, parent.p, C.int(color), C.int(key), s.slot, &msg)
	return s, check("nccl: split", rc, &msg)
}

// Comm is the new communicator, once the parent has settled. It is asked for once.
func (s Splitting) Comm() NCCLComm {
	defer C.free(unsafe.Pointer(s.slot))
	return NCCLComm{*s.slot}
}

// Settle looks for up to so many microseconds whether the communicator has done what was begun, and returns the error
// that it met.
func (n *NCCL) Settle(c NCCLComm, microseconds int) (settled bool, err error) {
	var done C.int
	var msg *C.char
	rc := C.gorun_nccl_settle(n.n, c.p, C.int(microseconds), &done, &msg)
	return done != 0, check("nccl", rc, &msg)
}

// Run queues collectives on a stream as one group. They are there once the communicator has settled.
func (n *NCCL) Run(c CUDA, comm NCCLComm, ops []NCCLOp, s Stream) error {
	list := make([]C.gorun_nccl_op, len(ops))
	for i, o := range ops {
		t, ok := ncclTypes[o.DType]
		if !ok {
			return &Error{Op: "nccl", Code: 3, Msg: "collectives move uint8, int32, float32 and bfloat16, not " + o.DType.String()}
		}
		list[i] = C.gorun_nccl_op{kind: C.gorun_nccl_kind(o.Kind), dtype: t, root: C.int(o.Root), src: C.uintptr_t(o.Src), dst: C.uintptr_t(o.Dst), count: C.size_t(o.Count)}
	}
	var msg *C.char
	rc := C.gorun_nccl_run(n.n, c.c, comm.p, unsafe.SliceData(list), C.size_t(len(list)), C.intptr_t(s), &msg)
	return check("nccl", rc, &msg)
}

// Finalize begins to end a communicator: what is queued is still done. Once settled, Destroy frees it.
func (n *NCCL) Finalize(c NCCLComm) error {
	var msg *C.char
	return check("nccl: finalize", C.gorun_nccl_finalize(n.n, c.p, &msg), &msg)
}

// Destroy frees a communicator.
func (n *NCCL) Destroy(c NCCLComm) error {
	var msg *C.char
	return check("nccl: destroy", C.gorun_nccl_destroy(n.n, c.p, &msg), &msg)
}

// Abort ends whatever the communicator is in, on the device too, and frees it.
func (n *NCCL) Abort(c NCCLComm) error {
	var msg *C.char
	return check("nccl: abort", C.gorun_nccl_abort(n.n, c.p, &msg), &msg)
}
