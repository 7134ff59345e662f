#include "cuda_memory.h"

#include <string.h>

#include "cuda_driver.h"

enum { LAZY_ENABLE_PEER_ACCESS = 1 };

int gorun_cuda_take(const gorun_cuda *c, size_t n, uintptr_t *at, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  TRY(c, "take memory", c->memory_take(at, n));
  return 0;
}

int gorun_cuda_give_back(const gorun_cuda *c, uintptr_t at, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  TRY(c, "give memory back", c->memory_free(at));
  return 0;
}

int gorun_cuda_export(const gorun_cuda *c, uintptr_t at, char name[GORUN_CUDA_NAME], char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  gorun_cuda_ipc ipc;
  TRY(c, "share memory with other processes", c->ipc_export(&ipc, at));
  memcpy(name, ipc.bytes, GORUN_CUDA_NAME);
  return 0;
}

int gorun_cuda_import(const gorun_cuda *c, const char name[GORUN_CUDA_NAME], uintptr_t *at, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  gorun_cuda_ipc ipc;
  memcpy(ipc.bytes, name, GORUN_CUDA_NAME);
  TRY(c, "map another process's memory", c->ipc_import(at, ipc, LAZY_ENABLE_PEER_ACCESS));
  return 0;
}

int gorun_cuda_forget(const gorun_cuda *c, uintptr_t at, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  TRY(c, "unmap another process's memory", c->ipc_forget(at));
  return 0;
}

int gorun_cuda_copy(const gorun_cuda *c, const gorun_cuda_move *list, size_t num, intptr_t stream, char **err) {
  int rc = gorun_cuda_enter(c, err);
  if (rc) return rc;
  for (size_t i = 0; i < num; i++) TRY(c, "copy memory", c->copy_async(list[i].dst, list[i].src, list[i].n, (void *)stream));
  return 0;
}
