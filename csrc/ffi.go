//go:build cgo

package csrc

/*
#include <stdlib.h>
#include "ffi.h"
*/
import "C"

import (
	"sync"
	"unsafe"
)

// customCall is a custom call of programs and its handlers in C.
type customCall struct {
	name       string
	host, cuda unsafe.Pointer
	traits     C.int // of the handler for CUDA
}

// customCalls are made known to a plugin together, and once: a name cannot be made known twice.
type customCalls struct {
	calls []customCall

	mu    sync.Mutex
	known map[*C.gorun_api]bool // protected by mu
}

// register makes the calls known to the plugin's programs on a platform, "cpu" or "cuda".
func (s *customCalls) register(p *Plugin, platform string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[p.api] {
		return nil
	}
	for _, c := range s.calls {
		named, handler, traits := "CUDA", c.cuda, c.traits
		if platform == "cpu" {
			named, handler, traits = "Host", c.host, 0
		}
		if err := p.registerCall(c.name, named, handler, traits); err != nil {
			return err
		}
	}
	if s.known == nil {
		s.known = map[*C.gorun_api]bool{}
	}
	s.known[p.api] = true
	return nil
}

func (p *Plugin) registerCall(target, platform string, handler unsafe.Pointer, traits C.int) error {
	name, on := C.CString(target), C.CString(platform)
	defer C.free(unsafe.Pointer(name))
	defer C.free(unsafe.Pointer(on))
	var msg *C.char
	return check("register "+target, C.gorun_ffi_register(p.api, name, on, (*C.ffi_handler)(handler), traits, &msg), &msg)
}

// CopyTarget is the custom call that RegisterCopy makes known.
const CopyTarget = "gorun_copy"

// RegisterCopy makes the custom call gorun_copy (one float32 array in, the same out) known to the plugin's programs on
// the CPU. It shows that custom calls reach us.
func (p *Plugin) RegisterCopy() error {
	return p.registerCall(CopyTarget, "Host", C.gorun_ffi_copy, 0)
}
