#define _GNU_SOURCE
#include "cuda_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"

enum { CUDA_ERROR_NOT_READY = 600, STREAM_NON_BLOCKING = 1, EVENT_DEFAULT = 0 };

int gorun_cuda_fail(const gorun_cuda *c, int code, const char *op, char **err) {
  const char *text = NULL;
  if (c->error_string(code, &text) || !text) text = "unknown error";
  if (asprintf(err, "%s: %s", op, text) < 0) *err = strdup(op);
  return code;
}

static int load(gorun_cuda *c, char **err) {
  const gorun_symbol all[] = {
      {"cuGetErrorString", (void **)&c->error_string},
      {"cuInit", (void **)&c->init},
      {"cuDeviceGet", (void **)&c->device_get},
      {"cuDevicePrimaryCtxRetain", (void **)&c->primary_retain},
      {"cuCtxSetCurrent", (void **)&c->context_set},
      {"cuCtxGetStreamPriorityRange", (void **)&c->priority_range},
      {"cuStreamCreateWithPriority", (void **)&c->stream_create},
      {"cuStreamDestroy_v2", (void **)&c->stream_destroy},
      {"cuStreamWaitEvent", (void **)&c->stream_wait},
      {"cuEventCreate", (void **)&c->event_create},
      {"cuEventDestroy_v2", (void **)&c->event_destroy},
      {"cuEventRecord", (void **)&c->event_record},
      {"cuEventQuery", (void **)&c->event_query},
      {"cuEventElapsedTime", (void **)&c->event_elapsed},
      {"cuMemsetD8Async", (void **)&c->memset_async},
      {"cuMemAlloc_v2", (void **)&c->memory_take},
      {"cuMemFree_v2", (void **)&c->memory_free},
      {"cuMemcpyDtoDAsync_v2", (void **)&c->copy_async},
      {"cuIpcGetMemHandle", (void **)&c->ipc_export},
      {"cuIpcOpenMemHandle_v2", (void **)&c->ipc_import},
      {"cuIpcCloseMemHandle", (void **)&c->ipc_forget},
      {NULL, NULL},
  };
  return gorun_library("libcuda.so.1", all, "libcuda.so.1 has no %s: the NVIDIA driver is too old", err);
}

static int open_device(gorun_cuda *c, int device, char **err) {
  int rc = load(c, err), handle;
  if (rc) return rc;
  TRY(c, "start the driver", c->init(0));
  TRY(c, "find the device", c->device_get(&handle, device));
  TRY(c, "enter the device's primary context", c->primary_retain(&c->context, handle));
  return 0;
}

int gorun_cuda_open(int device, gorun_cuda **out, char **err) {
  gorun_cuda *c = calloc(1, sizeof *c);
  int rc = open_device(c, device, err);
  if (rc) {
    free(c);
    return rc;
  }
  *out = c;
  return 0;
}

int gorun_cuda_enter(const gorun_cuda *c, char **err) {
  TRY(c, "enter the device", c->context_set(c->context));
  return 0;
}

int gorun_cuda_stream_create(const gorun_cuda *c, intptr_t *stream, char **err) {
  int rc = gorun_cuda_enter(c, err), least, greatest;
  if (rc) return rc;
  TRY(c, "stream priorities", c->priority_range(&least, &greatest));
  void *s;
  TRY(c, "create a stream", c->stream_create(&s, STREAM_NON_BLOCKING, greatest));
  *stream = (intptr_t)s;
  return 0;
}

int gorun_cuda_stream_destroy(const gorun_cuda *c, intptr_t stream, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  TRY(c, "destroy a stream", c->stream_destroy((void *)stream));
  return 0;
}

int gorun_cuda_event_create(const gorun_cuda *c, void **event, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  TRY(c, "create an event", c->event_create(event, EVENT_DEFAULT));
  return 0;
}

int gorun_cuda_event_destroy(const gorun_cuda *c, void *event, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  TRY(c, "destroy an event", c->event_destroy(event));
  return 0;
}

int gorun_cuda_event_record(const gorun_cuda *c, void *event, intptr_t stream, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  TRY(c, "record an event", c->event_record(event, (void *)stream));
  return 0;
}

int gorun_cuda_event_done(const gorun_cuda *c, void *event, int *done, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  rc = c->event_query(event);
  *done = !rc;
  return rc && rc != CUDA_ERROR_NOT_READY ? gorun_cuda_fail(c, rc, "work on the device", err) : 0;
}

int gorun_cuda_event_elapsed(const gorun_cuda *c, void *begin, void *end, float *milliseconds, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  TRY(c, "time between events", c->event_elapsed(milliseconds, begin, end));
  return 0;
}

int gorun_cuda_stream_wait(const gorun_cuda *c, intptr_t stream, void *event, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  TRY(c, "wait for an event", c->stream_wait((void *)stream, event, 0));
  return 0;
}

int gorun_cuda_zero(const gorun_cuda *c, uintptr_t at, size_t n, intptr_t stream, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  TRY(c, "clear memory", c->memset_async(at, 0, n, (void *)stream));
  return 0;
}
