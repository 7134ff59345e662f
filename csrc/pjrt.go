//go:build cgo

package csrc

/*
#cgo CFLAGS: -std=gnu11 -O2 -Wall -Werror
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "pjrt.h"
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// Plugin is a loaded PJRT plugin. Plugins are never unloaded.
type Plugin struct{ api *C.gorun_api }

// Handles of PJRT objects. They are C pointers: the garbage collector does not see them, their owner destroys them.
type (
	Client     struct{ p unsafe.Pointer }
	Device     struct{ p unsafe.Pointer }
	Executable struct{ p unsafe.Pointer }
	Memory     struct{ p unsafe.Pointer } // of a device, the plugin's own; zero = the one that its programs run on
	Buffer     struct{ p unsafe.Pointer }
	Event      struct{ p unsafe.Pointer }
)

// Valid tells whether the handle is set.
func (m Memory) Valid() bool { return m.p != nil }

// Valid tells whether the handle is set.
func (b Buffer) Valid() bool { return b.p != nil }

// Valid tells whether the handle is set.
func (e Event) Valid() bool { return e.p != nil }

// Option is one named option of a client: Value is a string, int64, float32, bool or []int64.
type Option struct {
	Name  string
	Value any
}

// check turns what a function of C returned into an error. It takes where the message is, not the message: as an operand
// beside the call it might be read before the call has written it.
func check(op string, rc C.int, msg **C.char) error {
	if rc == 0 {
		return nil
	}
	defer C.free(unsafe.Pointer(*msg))
	return &Error{Op: op, Code: int(rc), Msg: C.GoString(*msg)}
}

// LoadPlugin opens the shared library at path and initialises it.
func LoadPlugin(path string) (*Plugin, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var p Plugin
	var msg *C.char
	rc := C.gorun_plugin_load(name, &p.api, &msg)
	if err := check("load plugin "+path, rc, &msg); err != nil {
		return nil, err
	}
	return &p, nil
}

// Version is the PJRT API version of the plugin.
func (p *Plugin) Version() (major, minor int) {
	return int(p.api.version.major), int(p.api.version.minor)
}

// NewClient creates a client with the plugin's own options.
func (p *Plugin) NewClient(options []Option) (Client, error) {
	opts := make([]C.gorun_option, len(options))
	var pin runtime.Pinner
	defer pin.Unpin()
	for i, o := range options {
		name := C.CString(o.Name)
		defer C.free(unsafe.Pointer(name))
		opts[i].name = name
		switch v := o.Value.(type) {
		case string:
			s := C.CString(v)
			defer C.free(unsafe.Pointer(s))
			opts[i].kind, opts[i].s = 's', s
		case int64:
			opts[i].kind, opts[i].i = 'i', C.int64_t(v)
		case float32:
			opts[i].kind, opts[i].f = 'f', C.float(v)
		case bool:
			opts[i].kind = 'b'
			if v {
				opts[i].i = 1
			}
		case []int64:
			pin.Pin(unsafe.SliceData(v))
			opts[i].kind, opts[i].list, opts[i].n = 'l', (*C.int64_t)(unsafe.SliceData(v)), C.size_t(len(v))
		default:
			return Client{}, &Error{Op: "create client", Code: 3, Msg: "option " + o.Name + " has a type that PJRT does not know"}
		}
	}
	var c Client
	var msg *C.char
	rc := C.gorun_client_create(p.api, unsafe.SliceData(opts), C.size_t(len(opts)), &c.p, &msg)
	return c, check("create client", rc, &msg)
}

// DestroyClient ends a client; its buffers and executables must be gone.
func (p *Plugin) DestroyClient(c Client) error {
	var msg *C.char
	return check("destroy client", C.gorun_client_destroy(p.api, c.p, &msg), &msg)
}

// Platform returns the platform's name ("cpu", "cuda") and version text.
func (p *Plugin) Platform(c Client) (name, version string, err error) {
	var s, v *C.char
	var sn, vn C.size_t
	var msg *C.char
	rc := C.gorun_client_platform(p.api, c.p, &s, &sn, &v, &vn, &msg)
	if err := check("platform", rc, &msg); err != nil {
		return "", "", err
	}
	return C.GoStringN(s, C.int(sn)), C.GoStringN(v, C.int(vn)), nil
}

// Devices lists the devices that the client can use.
func (p *Plugin) Devices(c Client) ([]Device, error) {
	var list *unsafe.Pointer
	var n C.size_t
	var msg *C.char
	rc := C.gorun_client_devices(p.api, c.p, &list, &n, &msg)
	if err := check("list devices", rc, &msg); err != nil {
		return nil, err
	}
	out := make([]Device, n)
	for i, d := range unsafe.Slice(list, n) {
		out[i] = Device{d}
	}
	return out, nil
}

// DeviceKind is the device's model name ("NVIDIA H200", "cpu").
func (p *Plugin) DeviceKind(d Device) (string, error) {
	var s *C.char
	var n C.size_t
	var msg *C.char
	rc := C.gorun_device_kind(p.api, d.p, &s, &n, &msg)
	if err := check("device kind", rc, &msg); err != nil {
		return "", err
	}
	return C.GoStringN(s, C.int(n)), nil
}

// DeviceMemory returns bytes in use, their peak and the limit of the device's allocator (0 = not known).
func (p *Plugin) DeviceMemory(d Device) (inUse, peak, limit int64, err error) {
	var u, k, l C.int64_t
	var msg *C.char
	rc := C.gorun_device_memory(p.api, d.p, &u, &k, &l, &msg)
	return int64(u), int64(k), int64(l), check("device memory", rc, &msg)
}

// MemoryOf is the memory of a kind ("pinned_host") that a device reaches, one that is not valid if there is none.
func (p *Plugin) MemoryOf(d Device, kind string) (Memory, error) {
	name := C.CString(kind)
	defer C.free(unsafe.Pointer(name))
	var m Memory
	var msg *C.char
	rc := C.gorun_device_memory_of(p.api, d.p, name, &m.p, &msg)
	return m, check("memory "+kind, rc, &msg)
}

// Compile turns StableHLO text into an executable; options is a serialized CompileOptionsProto.
func (p *Plugin) Compile(c Client, code, options []byte) (Executable, error) {
	var e Executable
	var msg *C.char
	rc := C.gorun_compile(p.api, c.p, (*C.char)(unsafe.Pointer(unsafe.SliceData(code))), C.size_t(len(code)),
		(*C.char)(unsafe.Pointer(unsafe.SliceData(options))), C.size_t(len(options)), &e.p, &msg)
	return e, check("compile", rc, &msg)
}

// Serialize returns the executable as bytes that Deserialize of the same plugin and device accepts.
func (p *Plugin) Serialize(e Executable) ([]byte, error) {
	var s *C.char
	var n C.size_t
	var owner, free unsafe.Pointer
	var msg *C.char
	rc := C.gorun_serialize(p.api, e.p, &s, &n, &owner, &free, &msg)
	if err := check("serialize", rc, &msg); err != nil {
		return nil, err
	}
	defer C.gorun_serialized_free(owner, free)
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(s)), n)...), nil
}

// Deserialize loads an executable that Serialize wrote.
func (p *Plugin) Deserialize(c Client, b []byte) (Executable, error) {
	var e Executable
	var msg *C.char
	rc := C.gorun_deserialize(p.api, c.p, (*C.char)(unsafe.Pointer(unsafe.SliceData(b))), C.size_t(len(b)), &e.p, &msg)
	return e, check("load executable", rc, &msg)
}

// DestroyExecutable frees an executable.
func (p *Plugin) DestroyExecutable(e Executable) error {
	var msg *C.char
	return check("destroy executable", C.gorun_executable_destroy(p.api, e.p, &msg), &msg)
}

// NumOutputs is the number of buffers that one execution returns.
func (p *Plugin) NumOutputs(e Executable) (int, error) {
	var n C.size_t
	var msg *C.char
	rc := C.gorun_executable_outputs(p.api, e.p, &n, &msg)
	return int(n), check("count outputs", rc, &msg)
}

// ExecutableMemory returns the bytes that an execution uses on the device: arguments, outputs, outputs that reuse a
// donated argument, and scratch.
func (p *Plugin) ExecutableMemory(e Executable) (argument, output, alias, temp int64, err error) {
	var a, o, l, t C.int64_t
	var msg *C.char
	rc := C.gorun_executable_memory(p.api, e.p, &a, &o, &l, &t, &msg)
	return int64(a), int64(o), int64(l), int64(t), check("executable memory", rc, &msg)
}

// Execute starts one execution and returns at once: outs is filled with buffers whose contents are still being made,
// and the event, if wanted, fires when the execution has ended.
func (p *Plugin) Execute(e Executable, args, outs []Buffer, wantEvent bool) (Event, error) {
	var ev Event
	var evp *unsafe.Pointer
	if wantEvent {
		evp = &ev.p
	}
	var msg *C.char
	rc := C.gorun_execute(p.api, e.p, (*unsafe.Pointer)(unsafe.Pointer(unsafe.SliceData(args))), C.size_t(len(args)),
		(*unsafe.Pointer)(unsafe.Pointer(unsafe.SliceData(outs))), evp, &msg)
	return ev, check("execute", rc, &msg)
}

func cDims(dims []int64) (*C.int64_t, C.size_t) {
	return (*C.int64_t)(unsafe.SliceData(dims)), C.size_t(len(dims))
}

// Upload copies data, dense and row-major, to a new buffer in m; data may be reused when it returns.
func (p *Plugin) Upload(c Client, d Device, m Memory, data []byte, dtype int, dims []int64) (Buffer, error) {
	var b Buffer
	var msg *C.char
	dp, dn := cDims(dims)
	rc := C.gorun_upload(p.api, c.p, d.p, m.p, unsafe.Pointer(unsafe.SliceData(data)), C.int(dtype), dp, dn, &b.p, &msg)
	return b, check("upload", rc, &msg)
}

// CopyTo starts a copy of a buffer to another memory of its client.
func (p *Plugin) CopyTo(b Buffer, m Memory) (Buffer, error) {
	var out Buffer
	var msg *C.char
	rc := C.gorun_copy_to_memory(p.api, b.p, m.p, &out.p, &msg)
	return out, check("copy", rc, &msg)
}

// Uninitialized makes a buffer whose contents are undefined until somebody writes them.
func (p *Plugin) Uninitialized(c Client, d Device, dtype int, dims []int64) (Buffer, error) {
	var b Buffer
	var msg *C.char
	dp, dn := cDims(dims)
	rc := C.gorun_uninitialized(p.api, c.p, d.p, C.int(dtype), dp, dn, &b.p, &msg)
	return b, check("allocate", rc, &msg)
}

// Download starts a copy of the whole buffer, row-major, to dst, which must stay pinned until the event fires.
func (p *Plugin) Download(b Buffer, dst []byte) (Event, error) {
	var ev Event
	var msg *C.char
	rc := C.gorun_download(p.api, b.p, unsafe.Pointer(unsafe.SliceData(dst)), C.size_t(len(dst)), &ev.p, &msg)
	return ev, check("download", rc, &msg)
}

// DestroyBuffer frees the buffer's memory once nothing queued needs it.
func (p *Plugin) DestroyBuffer(b Buffer) error {
	var msg *C.char
	return check("destroy buffer", C.gorun_buffer_destroy(p.api, b.p, &msg), &msg)
}

// BufferPointer is the address of the buffer's memory on the device; valid while the buffer lives, and safe to read
// only after its ready event.
func (p *Plugin) BufferPointer(b Buffer) (uintptr, error) {
	var at C.uintptr_t // on a GPU no address of this process
	var msg *C.char
	rc := C.gorun_buffer_pointer(p.api, b.p, &at, &msg)
	return uintptr(at), check("buffer pointer", rc, &msg)
}

// BufferReady returns an event that fires when the buffer's contents are there, or with the error that made them.
func (p *Plugin) BufferReady(b Buffer) (Event, error) {
	var ev Event
	var msg *C.char
	rc := C.gorun_buffer_ready(p.api, b.p, &ev.p, &msg)
	return ev, check("ready event", rc, &msg)
}

// Await blocks until the event fires and returns its error.
func (p *Plugin) Await(e Event) error {
	var msg *C.char
	return check("await", C.gorun_event_await(p.api, e.p, &msg), &msg)
}

// DestroyEvent frees an event.
func (p *Plugin) DestroyEvent(e Event) error {
	var msg *C.char
	return check("destroy event", C.gorun_event_destroy(p.api, e.p, &msg), &msg)
}
