// NCCL, loaded at run time and never unloaded: communicators that do not block, and groups of collectives on a stream.
// Functions return 0, or NCCL's code with a message in *err (free it). Code 7 of NCCL, in progress, is no failure: what
// was begun goes on in a thread of NCCL's, and gorun_nccl_settle tells its outcome. The calling thread is made to work
// with the communicator's device first. Handles of communicators are NCCL's own.
#ifndef GORUN_NCCL_H
#define GORUN_NCCL_H
#include "cuda_stream.h"

enum { GORUN_NCCL_ID = 128 };  // bytes of a unique id

typedef struct gorun_nccl gorun_nccl;  // NCCL's functions

typedef enum {
  GORUN_NCCL_ALL_REDUCE,
  GORUN_NCCL_ALL_GATHER,
  GORUN_NCCL_REDUCE_SCATTER,
  GORUN_NCCL_BROADCAST,
  GORUN_NCCL_REDUCE,
} gorun_nccl_kind;

typedef struct {  // one collective; sums where it reduces
  gorun_nccl_kind kind;
  int dtype;  // as NCCL numbers them
  int root;   // of a broadcast or reduction
  uintptr_t src, dst;
  size_t count;  // elements, as NCCL counts them for the kind: of the part of one rank, or of the whole
} gorun_nccl_op;

int gorun_nccl_load(const char *path, gorun_nccl **out, int *version, char **err);
int gorun_nccl_unique_id(const gorun_nccl *n, char id[GORUN_NCCL_ID], char **err);

// gorun_nccl_init begins to join `size` ranks; *comm is set at once, and usable when it has settled.
int gorun_nccl_init(const gorun_nccl *n, const gorun_cuda *cuda, int size, int rank, const char id[GORUN_NCCL_ID], void **comm,
                    char **err);

// gorun_nccl_split begins to make the communicator of the parent's ranks that give the same color, in the order of their
// keys. *comm is set when the parent has settled, and must stay where it is until then.
int gorun_nccl_split(const gorun_nccl *n, const gorun_cuda *cuda, void *parent, int color, int key, void **comm, char **err);

// gorun_nccl_settle looks for up to `microseconds` whether a communicator has done what was begun; *settled tells.
int gorun_nccl_settle(const gorun_nccl *n, void *comm, int microseconds, int *settled, char **err);

// gorun_nccl_run queues collectives on a stream, all as one group; the stream has them when the communicator has settled.
int gorun_nccl_run(const gorun_nccl *n, const gorun_cuda *cuda, void *comm, const gorun_nccl_op *ops, size_t num_ops,
                   intptr_t stream, char **err);

// gorun_nccl_finalize begins to end a communicator; once it has settled, gorun_nccl_destroy frees it.
int gorun_nccl_finalize(const gorun_nccl *n, void *comm, char **err);
int gorun_nccl_destroy(const gorun_nccl *n, void *comm, char **err);

// gorun_nccl_abort ends whatever the communicator is in, on the device too, and frees it.
int gorun_nccl_abort(const gorun_nccl *n, void *comm, char **err);
#endif
