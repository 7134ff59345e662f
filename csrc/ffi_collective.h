// Collectives inside programs, as custom calls: each takes the array to move and a token, and returns the outcome and a
// token. Tokens are never read; they order the collectives of a program, so that all that take part in them meet the
// same ones in the same order. Attributes: comm (int32), the number of the communicator, and what (string), for errors.
#ifndef GORUN_FFI_COLLECTIVE_H
#define GORUN_FFI_COLLECTIVE_H
#include "ffi.h"

typedef enum { GORUN_ALL_REDUCE, GORUN_ALL_GATHER, GORUN_REDUCE_SCATTER } gorun_collective_op;

typedef struct {  // a call's operands
  gorun_collective_op op;
  int32_t comm;
  const char *what;
  size_t what_n;
  int dtype;  // as XLA numbers element types, not as PJRT does
  const void *src;
  void *dst;
  int64_t src_n, dst_n;  // elements
  int on_stream;         // the memory is a GPU's, and what is queued on this stream comes before and after
  intptr_t stream;
} gorun_collective_call;

// ffi_collective reads a call's operands; it returns NULL, or an error for XLA.
void *ffi_collective(ffi_call *c, gorun_collective_op op, gorun_collective_call *out);

// The handlers for CPU. They call gorunCollective, of Go, and wait for it on the thread that XLA runs the program on.
void *gorun_host_all_reduce(ffi_call *c);
void *gorun_host_all_gather(ffi_call *c);
void *gorun_host_reduce_scatter(ffi_call *c);

// The handlers for CUDA. They call gorunCollective too, which queues the collective on XLA's stream. They are not part of
// CUDA graphs: they ask NCCL whether it has done its part, which a capture forbids.
void *gorun_cuda_all_reduce(ffi_call *c);
void *gorun_cuda_all_gather(ffi_call *c);
void *gorun_cuda_reduce_scatter(ffi_call *c);
#endif
