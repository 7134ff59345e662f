//go:build cgo

package csrc

/*
#include <stdlib.h>
#include "cuda_stream.h"
*/
import "C"

import "time"

// CUDA is the driver and one NVIDIA device, in the context that XLA's plugin uses too. It is never closed.
type CUDA struct{ c *C.gorun_cuda }

// Stream is a queue of the device, as the driver names it; XLA's own are such numbers too.
type Stream uintptr

// Mark is an event, as the driver names it: a point in a stream's queue.
type Mark uintptr

// OpenCUDA finds device number device, as CUDA_VISIBLE_DEVICES counts. Without NVIDIA's driver it is an error.
func OpenCUDA(device int) (CUDA, error) {
	var c CUDA
	var msg *C.char
	rc := C.gorun_cuda_open(C.int(device), &c.c, &msg)
	return c, check("open NVIDIA's driver", rc, &msg)
}

// NewStream makes a stream of the highest priority.
func (c CUDA) NewStream() (Stream, error) {
	var s C.intptr_t
	var msg *C.char
	rc := C.gorun_cuda_stream_create(c.c, &s, &msg)
	return Stream(s), check("cuda", rc, &msg)
}

// DestroyStream gives a stream back once its work is done.
func (c CUDA) DestroyStream(s Stream) error {
	var msg *C.char
	return check("cuda", C.gorun_cuda_stream_destroy(c.c, C.intptr_t(s), &msg), &msg)
}

// NewMark makes an event.
func (c CUDA) NewMark() (Mark, error) {
	var m C.intptr_t
	var msg *C.char
	rc := C.gorun_cuda_event_create(c.c, &m, &msg)
	return Mark(m), check("cuda", rc, &msg)
}

// DestroyMark gives an event back.
func (c CUDA) DestroyMark(m Mark) error {
	var msg *C.char
	return check("cuda", C.gorun_cuda_event_destroy(c.c, C.intptr_t(m), &msg), &msg)
}

// Record puts the mark behind all that is queued on the stream.
func (c CUDA) Record(m Mark, s Stream) error {
	var msg *C.char
	return check("cuda", C.gorun_cuda_event_record(c.c, C.intptr_t(m), C.intptr_t(s), &msg), &msg)
}

// Passed tells whether all that was queued before the mark is done, or the error that the device has met.
func (c CUDA) Passed(m Mark) (bool, error) {
	var done C.int
	var msg *C.char
	rc := C.gorun_cuda_event_done(c.c, C.intptr_t(m), &done, &msg)
	return done != 0, check("cuda", rc, &msg)
}

// Between is the time from one mark to another on the device, which has come to both.
func (c CUDA) Between(begin, end Mark) (time.Duration, error) {
	var ms C.float
	var msg *C.char
	rc := C.gorun_cuda_event_elapsed(c.c, C.intptr_t(begin), C.intptr_t(end), &ms, &msg)
	return time.Duration(float64(ms) * float64(time.Millisecond)), check("cuda", rc, &msg)
}

// Wait makes what is queued on the stream from now on wait for the mark.
func (c CUDA) Wait(s Stream, m Mark) error {
	var msg *C.char
	return check("cuda", C.gorun_cuda_stream_wait(c.c, C.intptr_t(s), C.intptr_t(m), &msg), &msg)
}

// Zero queues the clearing of n bytes at an address of the device.
func (c CUDA) Zero(at uintptr, n int, s Stream) error {
	var msg *C.char
	return check("cuda", C.gorun_cuda_zero(c.c, C.uintptr_t(at), C.size_t(n), C.intptr_t(s), &msg), &msg)
}
