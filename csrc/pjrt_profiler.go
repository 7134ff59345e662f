//go:build cgo

package csrc

/*
#include <stdlib.h>
#include "pjrt_profiler.h"
*/
import "C"

import (
	"errors"
	"unsafe"
)

// Profiler records what devices and their driver do, from StartProfiler to StopProfiler. A process has one at a time.
type Profiler struct{ p unsafe.Pointer }

// StartProfiler starts a profiler; options is a serialized ProfileOptions message. The error's code is Unimplemented where
// the plugin has none.
func (p *Plugin) StartProfiler(options []byte) (Profiler, error) {
	var out Profiler
	var msg *C.char
	rc := C.gorun_profiler_start(p.api, (*C.char)(unsafe.Pointer(unsafe.SliceData(options))), C.size_t(len(options)), &out.p, &msg)
	return out, check("start the profiler", rc, &msg)
}

// StopProfiler ends a profiler and returns what it has recorded, a serialized XSpace message, which a byte of zero may follow.
func (p *Plugin) StopProfiler(profiler Profiler) (record []byte, err error) {
	defer func() {
		var msg *C.char
		err = errors.Join(err, check("end the profiler", C.gorun_profiler_destroy(p.api, profiler.p, &msg), &msg))
	}()
	var data unsafe.Pointer
	var n C.size_t
	var msg *C.char
	rc := C.gorun_profiler_stop(p.api, profiler.p, &data, &n, &msg)
	if err := check("stop the profiler", rc, &msg); err != nil {
		return nil, err
	}
	return append([]byte(nil), unsafe.Slice((*byte)(data), n)...), nil
}
