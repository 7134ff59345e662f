// What the files about the CUDA driver share: its functions, and the device that they are for.
#ifndef GORUN_CUDA_DRIVER_H
#define GORUN_CUDA_DRIVER_H
#include "cuda_memory.h"
#include "cuda_stream.h"

typedef struct {  // as the driver passes it, by value
  char bytes[GORUN_CUDA_NAME];
} gorun_cuda_ipc;

struct gorun_cuda {
  void *context;
  int (*error_string)(int, const char **);
  int (*init)(unsigned);
  int (*device_get)(int *, int);
  int (*primary_retain)(void **, int);
  int (*context_set)(void *);
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
};

// gorun_cuda_fail puts the driver's words for a code in *err and returns the code.
int gorun_cuda_fail(const gorun_cuda *c, int code, const char *op, char **err);

// TRY returns from the function if a call of the driver fails.
#define TRY(c, op, call)                                     \
  do {                                                       \
    int code_ = (call);                                      \
    if (code_) return gorun_cuda_fail((c), code_, op, err);  \
  } while (0)

#endif
