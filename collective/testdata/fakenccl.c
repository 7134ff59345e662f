// A stand-in for NCCL whose ranks are threads of one process and whose memory is the host's, for tests of what calls
// NCCL. It does not block, as gorun uses NCCL: ncclCommGetAsyncError says "in progress" until all ranks have come to a group
// of collectives and each has got what is its due. It has no thread of its own: a rank's results are written while the
// rank asks, and what it sends is copied when it comes. So a rank that gives up and frees its memory harms nobody, as on a
// GPU, whose memory stays mapped. With FAKE_NCCL_FAIL=N, the N-th group of a communicator fails on its rank 0 as if a peer
// were lost.
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS, REMOTE_ERROR = 6, IN_PROGRESS = 7, MOST_RANKS = 16, MOST_OPS = 64 };

typedef struct {
  char bytes[128];
} unique_id;

typedef struct {
  int kind, dtype, root;
  void *src;  // a copy
  void *dst;
  size_t count;
} op;

typedef struct club club;

typedef struct comm {
  club *club;
  int rank, groups;
  int state;
  op ops[MOST_OPS];
  int num_ops;
  int running, taken;   // it is in a group; it has its results
  unsigned round;       // of the club, when it came to that group
  int color, key;      // of the split that is under way
  struct comm **child;  // where its outcome goes
} comm;

struct club {  // the ranks of a communicator
  char id[128];
  int size, joined, splits, families;
  int arrived, taken;  // ranks that have come to the group, and that have their results of it
  int broken;          // a rank has left: nobody meets any more
  unsigned round;      // groups that are over
  comm *members[MOST_RANKS];
  club *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static club *clubs;
static int ids;
static __thread comm *group_comm;

const char *ncclGetErrorString(int code) { return code == REMOTE_ERROR ? "remote process exited or there was a network error" : "error"; }
const char *ncclGetLastError(void *c) { return (void)c, ""; }
int ncclGetVersion(int *v) { return *v = 22809, SUCCESS; }

int ncclGetUniqueId(unique_id *id) {
  memset(id, 0, sizeof *id);
  pthread_mutex_lock(&lock);
  snprintf(id->bytes, sizeof id->bytes, "id %d", ids++);
  pthread_mutex_unlock(&lock);
  return SUCCESS;
}

static club *find(const char *id, int size) {
  for (club *c = clubs; c; c = c->next)
    if (!strcmp(c->id, id)) return c;
  club *c = calloc(1, sizeof *c);
  strcpy(c->id, id);
  c->size = size;
  c->next = clubs;
  return clubs = c;
}

static comm *enter(club *at, int rank) {
  comm *c = calloc(1, sizeof *c);
  c->club = at;
  c->rank = rank;
  c->state = IN_PROGRESS;
  at->members[rank] = c;
  at->joined++;
  return c;
}

int ncclCommInitRankConfig(comm **out, int size, unique_id id, int rank, void *config) {
  (void)config;
  pthread_mutex_lock(&lock);
  *out = enter(find(id.bytes, size), rank);
  pthread_mutex_unlock(&lock);
  return IN_PROGRESS;
}

int ncclCommSplit(comm *c, int color, int key, comm **out, void *config) {
  (void)config;
  pthread_mutex_lock(&lock);
  c->color = color;
  c->key = key;
  c->child = out;
  c->state = IN_PROGRESS;
  if (++c->club->splits == c->club->size) {  // the last one makes all children
    c->club->splits = 0;
    for (int r = 0; r < c->club->size; r++) {
      comm *m = c->club->members[r];
      char id[128];
      int size = 0;
      for (int i = 0; i < c->club->size; i++) size += c->club->members[i]->color == m->color;
      snprintf(id, sizeof id, "%.60s/%d/%d", c->club->id, c->club->families, m->color);
      *m->child = enter(find(id, size), m->key);
      m->state = SUCCESS;
    }
    c->club->families++;
  }
  pthread_mutex_unlock(&lock);
  return IN_PROGRESS;
}

static float number(int dtype, const void *at, size_t i) {
  if (dtype == 2) return (float)((const int32_t *)at)[i];
  if (dtype == 7) return ((const float *)at)[i];
  uint32_t bits = (uint32_t)((const uint16_t *)at)[i] << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static void put(int dtype, void *at, size_t i, float v) {
  if (dtype == 2) ((int32_t *)at)[i] = (int32_t)v;
  if (dtype == 7) ((float *)at)[i] = v;
  if (dtype == 9) {
    uint32_t bits;
    memcpy(&bits, &v, 4);
    ((uint16_t *)at)[i] = (uint16_t)(bits >> 16);
  }
}

// sum adds what all ranks hold for op i, from an offset, into dst.
static void sum(comm *c, int i, size_t from, void *dst) {
  op *o = &c->ops[i];
  for (size_t k = 0; k < o->count; k++) {
    float v = 0;
    for (int r = 0; r < c->club->size; r++) v += number(o->dtype, c->club->members[r]->ops[i].src, from + k);
    put(o->dtype, dst, k, v);
  }
}

static const size_t sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};  // of elements, by NCCL's number of their type

static void take(comm *c, int i) {
  op *o = &c->ops[i];
  size_t n = o->count * sizes[o->dtype];
  comm **all = c->club->members;
  switch (o->kind) {
    case 'r': sum(c, i, 0, o->dst); break;
    case 's': sum(c, i, o->count * (size_t)c->rank, o->dst); break;
    case 'd': if (c->rank == o->root) sum(c, i, 0, o->dst); break;
    case 'b': memmove(o->dst, all[o->root]->ops[i].src, n); break;
    case 'g':
      for (int r = 0; r < c->club->size; r++) memmove((char *)o->dst + (size_t)r * n, all[r]->ops[i].src, n);
  }
}

// leave ends c's group; the lock is held.
static void leave(comm *c, int state) {
  for (int i = 0; i < c->num_ops; i++) free(c->ops[i].src);
  c->num_ops = c->running = 0;
  c->state = state;
}

// look lets c take its results if all ranks have come, and go on once all have taken theirs; the lock is held.
static void look(comm *c) {
  club *k = c->club;
  if (k->round == c->round && k->broken) {
    leave(c, REMOTE_ERROR);
    return;
  }
  if (k->round == c->round && k->arrived == k->size && !c->taken) {
    for (int i = 0; i < c->num_ops; i++) take(c, i);
    c->taken = 1;
    if (++k->taken == k->size) {
      k->arrived = k->taken = 0;
      k->round++;
    }
  }
  if (k->round != c->round) leave(c, SUCCESS);
}

int ncclCommGetAsyncError(comm *c, int *state) {
  pthread_mutex_lock(&lock);
  if (c->running) look(c);
  else if (c->state == IN_PROGRESS && !c->child && c->club->joined == c->club->size) c->state = SUCCESS;
  if (c->state != IN_PROGRESS) c->child = NULL;
  *state = c->state;
  pthread_mutex_unlock(&lock);
  return SUCCESS;
}

int ncclGroupStart(void) { return group_comm = NULL, SUCCESS; }

int ncclGroupEnd(void) {
  comm *c = group_comm;
  if (!c) return SUCCESS;
  const char *fail = getenv("FAKE_NCCL_FAIL");
  pthread_mutex_lock(&lock);
  if (fail && atoi(fail) == ++c->groups && !c->rank) {
    leave(c, REMOTE_ERROR);
  } else {
    c->state = IN_PROGRESS;
    c->running = 1;
    c->taken = 0;
    c->round = c->club->round;
    c->club->arrived++;
  }
  pthread_mutex_unlock(&lock);
  return IN_PROGRESS;
}

// add notes a collective of the group, of so many elements in all that c sends.
static int add(comm *c, op o, const void *src, size_t elements) {
  group_comm = c;
  o.src = malloc(elements * sizes[o.dtype] + 1);
  memcpy(o.src, src, elements * sizes[o.dtype]);
  c->ops[c->num_ops++] = o;
  return SUCCESS;
}

int ncclAllReduce(const void *s, void *d, size_t n, int t, int sum, comm *c, void *stream) { return (void)sum, (void)stream, add(c, (op){'r', t, 0, NULL, d, n}, s, n); }
int ncclAllGather(const void *s, void *d, size_t n, int t, comm *c, void *stream) { return (void)stream, add(c, (op){'g', t, 0, NULL, d, n}, s, n); }
int ncclReduceScatter(const void *s, void *d, size_t n, int t, int sum, comm *c, void *stream) { return (void)sum, (void)stream, add(c, (op){'s', t, 0, NULL, d, n}, s, n * (size_t)c->club->size); }
int ncclBroadcast(const void *s, void *d, size_t n, int t, int root, comm *c, void *stream) { return (void)stream, add(c, (op){'b', t, root, NULL, d, n}, s, c->rank == root ? n : 0); }
int ncclReduce(const void *s, void *d, size_t n, int t, int sum, int root, comm *c, void *stream) { return (void)sum, (void)stream, add(c, (op){'d', t, root, NULL, d, n}, s, n); }

// What has been aborted or destroyed stays in memory: peers of the same process may still look at it.
int ncclCommAbort(comm *c) {
  pthread_mutex_lock(&lock);
  c->club->broken = 1;
  pthread_mutex_unlock(&lock);
  return SUCCESS;
}

int ncclCommFinalize(comm *c) { return (void)c, SUCCESS; }
int ncclCommDestroy(comm *c) { return (void)c, SUCCESS; }
