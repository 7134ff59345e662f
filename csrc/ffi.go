//go:build cgo

package csrc

/*
#include <stdlib.h>
#include "ffi.h"
*/
import "C"

import "unsafe"

// CopyTarget is the custom call that RegisterCopy makes known.
const CopyTarget = "gorun_copy"

// RegisterCopy makes the custom call gorun_copy (one float32 array in, the same out) known to the plugin's programs on
// the CPU. It shows that custom calls reach us.
func (p *Plugin) RegisterCopy() error {
	name, platform := C.CString(CopyTarget), C.CString("Host")
	defer C.free(unsafe.Pointer(name))
	defer C.free(unsafe.Pointer(platform))
	var msg *C.char
	return check("register "+CopyTarget, C.gorun_ffi_register(p.api, name, platform, (*C.ffi_handler)(C.gorun_ffi_copy), 0, &msg), msg)
}
