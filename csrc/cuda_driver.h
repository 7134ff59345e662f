// NVIDIA's driver: the functions of libcuda.so.1 that gorun calls. It is loaded at run time, once for the process, and
// never given up.
#ifndef GORUN_CUDA_DRIVER_H
#define GORUN_CUDA_DRIVER_H
#include <stddef.h>
#include <stdint.h>

typedef struct {  // as the driver passes it, by value
  char bytes[64];
} gorun_cuda_ipc;

typedef struct {
  int (*error_string)(int, const char **);
  int (*init)(unsigned);
  int (*device_get)(int *, int);
  int (*device_attribute)(int *, int, int);
  int (*primary_retain)(void **, int);
  int (*context_set)(void *);
  int (*context_push)(void *);
  int (*context_pop)(void **);
  int (*priority_range)(int *, int *);
  int (*stream_create)(void **, unsigned, int);
  int (*stream_destroy)(void *);
  int (*stream_wait)(void *, void *, unsigned);
  int (*event_create)(void **, unsigned);
  int (*event_destroy)(void *);
  int (*event_record)(void *, void *);
  int (*event_query)(void *);
  int (*event_elapsed)(float *, void *, void *);
  int (*memset_async)(uintptr_t, unsigned char, size_t, void *);
  int (*memory_take)(uintptr_t *, size_t);
  int (*memory_free)(uintptr_t);
  int (*copy_async)(uintptr_t, uintptr_t, size_t, void *);
  int (*ipc_export)(gorun_cuda_ipc *, uintptr_t);
  int (*ipc_import)(uintptr_t *, gorun_cuda_ipc, unsigned);
  int (*ipc_forget)(uintptr_t);
  int (*module_load)(void **, const void *);
  int (*module_function)(void **, void *, const char *);
  int (*function_set)(void *, int, int);
  int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
} gorun_cuda_driver;

// gorun_cuda_start loads and starts the driver if no call has yet. It returns 0, or a code with a message in *err (free
// it), and may be called from any thread.
int gorun_cuda_start(const gorun_cuda_driver **driver, char **err);

// gorun_cuda_outcome returns the code of a call of the driver. Unless that is 0 it says in *err what was to be done and
// the driver's words.
int gorun_cuda_outcome(const gorun_cuda_driver *driver, int code, const char *op, char **err);
#endif
