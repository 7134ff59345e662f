#include "ffi_collective.h"

#include <stdlib.h>

#include "_cgo_export.h"
#include "status.h"

void *ffi_collective(ffi_call *c, gorun_collective_op op, gorun_collective_call *out) {
  if (c->args.n != 2 || c->results.n != 2)
    return ffi_error(c, STATUS_INVALID_ARGUMENT, "a collective takes an array and a token and returns an array and a token");
  ffi_buffer *src = c->args.values[0], *dst = c->results.values[0];
  const int32_t *comm = ffi_int32(c, "comm");
  ffi_bytes *what = ffi_attribute(c, "what", FFI_STRING);
  if (!comm || !what)
    return ffi_error(c, STATUS_INVALID_ARGUMENT, "a collective has the attributes comm (i32) and what (string)");
  if (src->dtype != dst->dtype) return ffi_error(c, STATUS_INVALID_ARGUMENT, "a collective's result has the type of its argument");
  *out = (gorun_collective_call){.op = op,
                                 .comm = *comm,
                                 .what = what->data,
                                 .what_n = what->n,
                                 .dtype = src->dtype,
                                 .src = src->data,
                                 .dst = dst->data,
                                 .src_n = ffi_elements(src),
                                 .dst_n = ffi_elements(dst)};
  return NULL;
}

// run hands a call to Go and its error to XLA.
static void *run(ffi_call *c, gorun_collective_call *call) {
  char *message = NULL;
  int code = gorunCollective(call, &message);
  if (!code) return NULL;
  void *error = ffi_error(c, code, message);
  free(message);
  return error;
}

static void *host(ffi_call *c, gorun_collective_op op) {
  gorun_collective_call call;
  if (ffi_metadata(c, 0)) return NULL;
  void *error = ffi_collective(c, op, &call);
  return error ? error : run(c, &call);
}

static void *cuda(ffi_call *c, gorun_collective_op op) {
  gorun_collective_call call;
  if (ffi_metadata(c, 0)) return NULL;
  void *error = ffi_collective(c, op, &call);
  if (error) return error;
  void *stream;
  if ((error = ffi_stream(c, &stream))) return error;
  call.on_stream = 1;
  call.stream = (intptr_t)stream;
  return run(c, &call);
}

void *gorun_host_all_reduce(ffi_call *c) { return host(c, GORUN_ALL_REDUCE); }
void *gorun_host_all_gather(ffi_call *c) { return host(c, GORUN_ALL_GATHER); }
void *gorun_host_reduce_scatter(ffi_call *c) { return host(c, GORUN_REDUCE_SCATTER); }

void *gorun_cuda_all_reduce(ffi_call *c) { return cuda(c, GORUN_ALL_REDUCE); }
void *gorun_cuda_all_gather(ffi_call *c) { return cuda(c, GORUN_ALL_GATHER); }
void *gorun_cuda_reduce_scatter(ffi_call *c) { return cuda(c, GORUN_REDUCE_SCATTER); }
