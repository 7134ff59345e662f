#include "cuda_memory.h"

#include <string.h>

#include "cuda_device.h"

enum { LAZY_ENABLE_PEER_ACCESS = 1 };
_Static_assert(sizeof(gorun_cuda_ipc) == GORUN_CUDA_NAME, "a name is what the driver gives");

int gorun_cuda_take(const gorun_cuda *c, size_t n, uintptr_t *at, char **err) {
  int rc = gorun_cuda_enter(c, err);
  return rc ? rc : gorun_cuda_said(c, c->driver->memory_take(at, n), "take memory", err);
}

int gorun_cuda_give_back(const gorun_cuda *c, uintptr_t at, char **err) {
  int rc = gorun_cuda_enter(c, err);
  return rc ? rc : gorun_cuda_said(c, c->driver->memory_free(at), "give memory back", err);
}

int gorun_cuda_export(const gorun_cuda *c, uintptr_t at, char name[GORUN_CUDA_NAME], char **err) {
  gorun_cuda_ipc ipc;
  int rc = gorun_cuda_enter(c, err);
  if (!rc) rc = gorun_cuda_said(c, c->driver->ipc_export(&ipc, at), "share memory with other processes", err);
  if (!rc) memcpy(name, ipc.bytes, GORUN_CUDA_NAME);
  return rc;
}

int gorun_cuda_import(const gorun_cuda *c, const char name[GORUN_CUDA_NAME], uintptr_t *at, char **err) {
  gorun_cuda_ipc ipc;
  memcpy(ipc.bytes, name, GORUN_CUDA_NAME);
  int rc = gorun_cuda_enter(c, err);
  return rc ? rc : gorun_cuda_said(c, c->driver->ipc_import(at, ipc, LAZY_ENABLE_PEER_ACCESS), "map another process's memory", err);
}

int gorun_cuda_forget(const gorun_cuda *c, uintptr_t at, char **err) {
  int rc = gorun_cuda_enter(c, err);
  return rc ? rc : gorun_cuda_said(c, c->driver->ipc_forget(at), "unmap another process's memory", err);
}

int gorun_cuda_copy(const gorun_cuda *c, const gorun_cuda_move *list, size_t num, intptr_t stream, char **err) {
  int rc = gorun_cuda_enter(c, err);
  for (size_t i = 0; !rc && i < num; i++)
    rc = gorun_cuda_said(c, c->driver->copy_async(list[i].dst, list[i].src, list[i].n, (void *)stream), "copy memory", err);
  return rc;
}
