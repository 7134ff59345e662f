#define _GNU_SOURCE  // asprintf
#include "cuda_driver.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "library.h"

int gorun_cuda_outcome(const gorun_cuda_driver *d, int code, const char *op, char **err) {
  if (!code) return 0;
  const char *text = NULL;
  if (d->error_string(code, &text) || !text) text = "unknown error of the NVIDIA driver";
  if (asprintf(err, "%s: %s", op, text) < 0) *err = strdup(op);
  return code;
}

static int load(gorun_cuda_driver *d, char **err) {
  const gorun_symbol all[] = {
      {"cuGetErrorString", (void **)&d->error_string},
      {"cuInit", (void **)&d->init},
      {"cuDeviceGet", (void **)&d->device_get},
      {"cuDeviceGetAttribute", (void **)&d->device_attribute},
      {"cuDevicePrimaryCtxRetain", (void **)&d->primary_retain},
      {"cuCtxSetCurrent", (void **)&d->context_set},
      {"cuCtxPushCurrent_v2", (void **)&d->context_push},
      {"cuCtxPopCurrent_v2", (void **)&d->context_pop},
      {"cuCtxGetStreamPriorityRange", (void **)&d->priority_range},
      {"cuStreamCreateWithPriority", (void **)&d->stream_create},
      {"cuStreamDestroy_v2", (void **)&d->stream_destroy},
      {"cuStreamWaitEvent", (void **)&d->stream_wait},
      {"cuEventCreate", (void **)&d->event_create},
      {"cuEventDestroy_v2", (void **)&d->event_destroy},
      {"cuEventRecord", (void **)&d->event_record},
      {"cuEventQuery", (void **)&d->event_query},
      {"cuEventElapsedTime", (void **)&d->event_elapsed},
      {"cuMemsetD8Async", (void **)&d->memset_async},
      {"cuMemAlloc_v2", (void **)&d->memory_take},
      {"cuMemFree_v2", (void **)&d->memory_free},
      {"cuMemcpyDtoDAsync_v2", (void **)&d->copy_async},
      {"cuIpcGetMemHandle", (void **)&d->ipc_export},
      {"cuIpcOpenMemHandle_v2", (void **)&d->ipc_import},
      {"cuIpcCloseMemHandle", (void **)&d->ipc_forget},
      {"cuModuleLoadData", (void **)&d->module_load},
      {"cuModuleGetFunction", (void **)&d->module_function},
      {"cuFuncSetAttribute", (void **)&d->function_set},
      {"cuLaunchKernel", (void **)&d->launch},
      {NULL, NULL},
  };
  return gorun_library("libcuda.so.1", all, "libcuda.so.1 has no %s: the NVIDIA driver is too old", err);
}

int gorun_cuda_start(const gorun_cuda_driver **driver, char **err) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;  // of what follows
  static gorun_cuda_driver the_one;
  static int started;
  pthread_mutex_lock(&mutex);
  int rc = started ? 0 : load(&the_one, err);
  if (!rc && !started) rc = gorun_cuda_outcome(&the_one, the_one.init(0), "start the driver", err);
  started = !rc;
  pthread_mutex_unlock(&mutex);
  *driver = &the_one;
  return rc;
}
