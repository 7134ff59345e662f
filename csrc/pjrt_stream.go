//go:build cgo

package csrc

/*
#include <stdlib.h>
#include "pjrt_stream.h"
*/
import "C"

// WaitBuffer makes what is queued on the stream from now on wait for the buffer's contents.
func (p *Plugin) WaitBuffer(s Stream, b Buffer) error {
	var msg *C.char
	return check("wait for a buffer", C.gorun_stream_wait_buffer(p.api, C.intptr_t(s), b.p, &msg), &msg)
}
