// Custom calls that tie XLA's queue of a device to another library's (device.Stream).
#ifndef GORUN_FFI_STREAM_H
#define GORUN_FFI_STREAM_H
#include "ffi.h"

// gorun_ffi_room takes nothing and leaves its results as their memory happens to be.
void *gorun_ffi_room(ffi_call *c);

// gorun_ffi_join calls gorunJoin, of Go, with the stream that XLA runs the program on (0 on the CPU) and the number in its
// attribute "stream" (i32). It takes a token and gives one, which are never read.
void *gorun_ffi_join_cuda(ffi_call *c);
void *gorun_ffi_join_host(ffi_call *c);
#endif
