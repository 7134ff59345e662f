// Memory of a CUDA device that other processes of the machine can read. It is the driver's, because XLA's allocator makes
// memory that cannot be shared. Functions return 0, or CUDA's code with a message in *err (free it), and may be called from
// any thread.
#ifndef GORUN_CUDA_MEMORY_H
#define GORUN_CUDA_MEMORY_H
#include <stddef.h>
#include <stdint.h>

#include "cuda_stream.h"

enum { GORUN_CUDA_NAME = 64 };  // bytes of the name by which another process finds memory

int gorun_cuda_take(const gorun_cuda *c, size_t n, uintptr_t *at, char **err);
int gorun_cuda_give_back(const gorun_cuda *c, uintptr_t at, char **err);

// gorun_cuda_export names what gorun_cuda_take returned. gorun_cuda_import maps memory of that name, which another process
// exported, into this one, and gorun_cuda_forget unmaps it.
int gorun_cuda_export(const gorun_cuda *c, uintptr_t at, char name[GORUN_CUDA_NAME], char **err);
int gorun_cuda_import(const gorun_cuda *c, const char name[GORUN_CUDA_NAME], uintptr_t *at, char **err);
int gorun_cuda_forget(const gorun_cuda *c, uintptr_t at, char **err);

typedef struct {
  uintptr_t dst, src;
  size_t n;  // bytes
} gorun_cuda_move;

// gorun_cuda_copy queues copies on a stream, one after the other. Between two devices copy engines make them; within one the
// driver has a kernel for it.
int gorun_cuda_copy(const gorun_cuda *c, const gorun_cuda_move *list, size_t num, intptr_t stream, char **err);
#endif
