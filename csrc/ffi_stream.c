#include "ffi_stream.h"

#include <stdlib.h>

#include "_cgo_export.h"
#include "status.h"

void *gorun_ffi_room(ffi_call *c) {
  ffi_metadata(c, 0);
  return NULL;
}

static void *join(ffi_call *c, void *stream) {
  const int32_t *number = ffi_int32(c, "stream");
  if (!number) return ffi_error(c, STATUS_INVALID_ARGUMENT, "gorun_join has the attribute stream (i32)");
  char *message = NULL;
  int code = gorunJoin(*number, (intptr_t)stream, &message);
  if (!code) return NULL;
  void *error = ffi_error(c, code, message);
  free(message);
  return error;
}

void *gorun_ffi_join_cuda(ffi_call *c) {
  if (ffi_metadata(c, 0)) return NULL;
  void *stream, *error = ffi_stream(c, &stream);
  return error ? error : join(c, stream);
}

void *gorun_ffi_join_host(ffi_call *c) { return ffi_metadata(c, 0) ? NULL : join(c, NULL); }
