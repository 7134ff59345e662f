//go:build cgo

package csrc

/*
#include <stdlib.h>
#include "ffi_collective.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/gomlx/compute/dtypes"
)

// Targets of the custom calls.
const (
	AllReduceTarget     = "gorun_all_reduce"
	AllGatherTarget     = "gorun_all_gather"
	ReduceScatterTarget = "gorun_reduce_scatter"
)

var collectives = customCalls{calls: []customCall{
	{AllReduceTarget, C.gorun_host_all_reduce, C.gorun_cuda_all_reduce, 0},
	{AllGatherTarget, C.gorun_host_all_gather, C.gorun_cuda_all_gather, 0},
	{ReduceScatterTarget, C.gorun_host_reduce_scatter, C.gorun_cuda_reduce_scatter, 0},
}}

// RegisterCollectives makes the collectives known to the plugin's programs on a platform, "cpu" or "cuda". Programs that
// have them can be compiled or loaded only afterwards.
func (p *Plugin) RegisterCollectives(platform string) error { return collectives.register(p, platform) }

// elementTypes are XLA's numbers of the element types that collectives move.
var elementTypes = map[C.int]dtypes.DType{4: dtypes.Int32, 11: dtypes.Float32, 16: dtypes.BFloat16}

// gorunCollective runs a collective of a program. It returns 0, or a status code and, in message, why.
//
//export gorunCollective
func gorunCollective(call *C.gorun_collective_call, message **C.char) C.int {
	err := collect(call)
	if err == nil {
		return 0
	}
	*message = C.CString(err.Error())
	return Aborted
}

func collect(call *C.gorun_collective_call) error {
	c, err := communicators.get(int32(call.comm))
	if err != nil {
		return err
	}
	what := C.GoStringN(call.what, C.int(call.what_n))
	t, ok := elementTypes[call.dtype]
	if !ok {
		return fmt.Errorf("%s: collectives move int32, float32 and bfloat16, not XLA's element type %d", what, int(call.dtype))
	}
	if call.on_stream != 0 {
		return collectOnStream(c.queued, what, t, call)
	}
	return collectInMemory(c.host, what, t, call)
}

func collectInMemory(c Communicator, what string, t dtypes.DType, call *C.gorun_collective_call) error {
	src := unsafe.Slice((*byte)(call.src), int(call.src_n)*t.Size())
	dst := unsafe.Slice((*byte)(call.dst), int(call.dst_n)*t.Size())
	switch call.op {
	case C.GORUN_ALL_REDUCE:
		return c.AllReduceMemory(what, dst, src, t)
	case C.GORUN_ALL_GATHER:
		return c.AllGatherMemory(what, dst, src)
	default:
		return c.ReduceScatterMemory(what, dst, src, t)
	}
}

func collectOnStream(c StreamCommunicator, what string, t dtypes.DType, call *C.gorun_collective_call) error {
	src, dst := uintptr(call.src), uintptr(call.dst)
	s := Stream(call.stream)
	switch call.op {
	case C.GORUN_ALL_REDUCE:
		return c.QueueAllReduce(what, dst, src, int(call.src_n), t, s)
	case C.GORUN_ALL_GATHER:
		return c.QueueAllGather(what, dst, src, int(call.src_n), t, s)
	default:
		return c.QueueReduceScatter(what, dst, src, int(call.dst_n), t, s)
	}
}
