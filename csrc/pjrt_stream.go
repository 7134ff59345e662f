//go:build cgo

package csrc

/*
#include <stdlib.h>
#include "pjrt_stream.h"
*/
import "C"

// ExternalStream is the stream of XLA's that View takes: what is queued there before a view is made is waited for by
// programs that read the view.
func (p *Plugin) ExternalStream(d Device) (Stream, error) {
	var s C.intptr_t
	var msg *C.char
	rc := C.gorun_stream_external(p.api, d.p, &s, &msg)
	return Stream(s), check("external stream", rc, msg)
}

// WaitBuffer makes what is queued on the stream from now on wait for the buffer's contents.
func (p *Plugin) WaitBuffer(s Stream, b Buffer) error {
	var msg *C.char
	return check("wait for a buffer", C.gorun_stream_wait_buffer(p.api, C.intptr_t(s), b.p, &msg), msg)
}
