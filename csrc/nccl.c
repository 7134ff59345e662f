#define _GNU_SOURCE
#include "nccl.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "library.h"
#include "status.h"

enum { IN_PROGRESS = 7, SUM = 0 };  // of NCCL

typedef struct {
  char bytes[GORUN_NCCL_ID];
} unique_id;

// The start of ncclConfig_t. NCCL copies as much of it as `size` says, and takes its own defaults for the rest.
typedef struct {
  size_t size;
  unsigned magic, version;
  int blocking, cga, min_ctas, max_ctas;
  const char *net;
  int split_share;
} config;

static config non_blocking(void) {
  return (config){.size = sizeof(config), .magic = 0xcafebeef, .version = 22000, .blocking = 0, .cga = INT_MIN,
                  .min_ctas = INT_MIN, .max_ctas = INT_MIN, .net = NULL, .split_share = INT_MIN};
}

struct gorun_nccl {
  const char *(*error_string)(int);
  const char *(*last_error)(void *);
  int (*get_version)(int *);
  int (*get_unique_id)(unique_id *);
  int (*init)(void **, int, unique_id, int, config *);
  int (*split)(void *, int, int, void **, config *);
  int (*async_error)(void *, int *);
  int (*finalize)(void *);
  int (*destroy)(void *);
  int (*abort)(void *);
  int (*group_start)(void);
  int (*group_end)(void);
  int (*all_reduce)(const void *, void *, size_t, int, int, void *, void *);
  int (*all_gather)(const void *, void *, size_t, int, void *, void *);
  int (*reduce_scatter)(const void *, void *, size_t, int, int, void *, void *);
  int (*broadcast)(const void *, void *, size_t, int, int, void *, void *);
  int (*reduce)(const void *, void *, size_t, int, int, int, void *, void *);
};

// result turns NCCL's code into ours; comm may be NULL.
static int result(const gorun_nccl *n, int code, void *comm, char **err) {
  if (!code || code == IN_PROGRESS) return 0;
  const char *more = n->last_error(comm);
  if (more && *more ? asprintf(err, "%s (%s)", n->error_string(code), more) < 0 : !(*err = strdup(n->error_string(code))))
    *err = strdup("no memory for NCCL's message");
  return code;
}

static int load(gorun_nccl *n, const char *path, char **err) {
  const gorun_symbol all[] = {
      {"ncclGetErrorString", (void **)&n->error_string},
      {"ncclGetLastError", (void **)&n->last_error},
      {"ncclGetVersion", (void **)&n->get_version},
      {"ncclGetUniqueId", (void **)&n->get_unique_id},
      {"ncclCommInitRankConfig", (void **)&n->init},
      {"ncclCommSplit", (void **)&n->split},
      {"ncclCommGetAsyncError", (void **)&n->async_error},
      {"ncclCommFinalize", (void **)&n->finalize},
      {"ncclCommDestroy", (void **)&n->destroy},
      {"ncclCommAbort", (void **)&n->abort},
      {"ncclGroupStart", (void **)&n->group_start},
      {"ncclGroupEnd", (void **)&n->group_end},
      {"ncclAllReduce", (void **)&n->all_reduce},
      {"ncclAllGather", (void **)&n->all_gather},
      {"ncclReduceScatter", (void **)&n->reduce_scatter},
      {"ncclBroadcast", (void **)&n->broadcast},
      {"ncclReduce", (void **)&n->reduce},
      {NULL, NULL},
  };
  return gorun_library(path, all, "it has no %s: gorun needs NCCL 2.20 or newer", err);
}

int gorun_nccl_load(const char *path, gorun_nccl **out, int *version, char **err) {
  gorun_nccl *n = calloc(1, sizeof *n);
  if (!n) {
    *err = strdup("no memory");
    return STATUS_INTERNAL;
  }
  int rc = load(n, path, err);
  if (!rc) rc = result(n, n->get_version(version), NULL, err);
  if (rc) {
    free(n);
    return rc;
  }
  *out = n;
  return 0;
}

int gorun_nccl_unique_id(const gorun_nccl *n, char id[GORUN_NCCL_ID], char **err) {
  unique_id u;
  int rc = result(n, n->get_unique_id(&u), NULL, err);
  if (!rc) memcpy(id, u.bytes, GORUN_NCCL_ID);
  return rc;
}

int gorun_nccl_init(const gorun_nccl *n, const gorun_cuda *cuda, int size, int rank, const char id[GORUN_NCCL_ID], void **comm,
                    char **err) {
  int rc = cuda ? gorun_cuda_enter(cuda, err) : 0;
  if (rc) return rc;
  unique_id u;
  memcpy(u.bytes, id, GORUN_NCCL_ID);
  config c = non_blocking();
  return result(n, n->init(comm, size, u, rank, &c), NULL, err);
}

int gorun_nccl_split(const gorun_nccl *n, const gorun_cuda *cuda, void *parent, int color, int key, void **comm, char **err) {
  int rc = cuda ? gorun_cuda_enter(cuda, err) : 0;
  if (rc) return rc;
  config c = non_blocking();
  return result(n, n->split(parent, color, key, comm, &c), parent, err);
}

int gorun_nccl_settle(const gorun_nccl *n, void *comm, int microseconds, int *settled, char **err) {
  struct timespec begin, now, pause = {0, 5000};
  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (;;) {
    int state, code = n->async_error(comm, &state);
    if (code) return result(n, code, comm, err);
    *settled = state != IN_PROGRESS;
    if (*settled) return result(n, state, comm, err);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if ((now.tv_sec - begin.tv_sec) * 1000000 + (now.tv_nsec - begin.tv_nsec) / 1000 >= microseconds) return 0;
    nanosleep(&pause, NULL);
  }
}

static int queue(const gorun_nccl *n, void *comm, const gorun_nccl_op *o, void *stream) {
  const void *src = (const void *)o->src;
  void *dst = (void *)o->dst;
  switch (o->kind) {
    case GORUN_NCCL_ALL_REDUCE: return n->all_reduce(src, dst, o->count, o->dtype, SUM, comm, stream);
    case GORUN_NCCL_ALL_GATHER: return n->all_gather(src, dst, o->count, o->dtype, comm, stream);
    case GORUN_NCCL_REDUCE_SCATTER: return n->reduce_scatter(src, dst, o->count, o->dtype, SUM, comm, stream);
    case GORUN_NCCL_BROADCAST: return n->broadcast(src, dst, o->count, o->dtype, o->root, comm, stream);
    default: return n->reduce(src, dst, o->count, o->dtype, SUM, o->root, comm, stream);
  }
}

int gorun_nccl_run(const gorun_nccl *n, const gorun_cuda *cuda, void *comm, const gorun_nccl_op *ops, size_t num_ops,
                   intptr_t stream, char **err) {
  int rc = cuda ? gorun_cuda_enter(cuda, err) : 0;
  if (rc) return rc;
  rc = n->group_start();
  for (size_t i = 0; !rc && i < num_ops; i++) {
    rc = queue(n, comm, &ops[i], (void *)stream);
    if (rc == IN_PROGRESS) rc = 0;
  }
  int end = n->group_end();  // it is due after a failure too
  return result(n, rc ? rc : end, comm, err);
}

int gorun_nccl_finalize(const gorun_nccl *n, void *comm, char **err) { return result(n, n->finalize(comm), comm, err); }
int gorun_nccl_destroy(const gorun_nccl *n, void *comm, char **err) { return result(n, n->destroy(comm), NULL, err); }
int gorun_nccl_abort(const gorun_nccl *n, void *comm, char **err) { return result(n, n->abort(comm), NULL, err); }
