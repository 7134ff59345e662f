// warp.cuh for the CPU: every thread of a block is a coroutine, which gives way where a warp or the block must meet.
// It is for tests: slow, and strict about what the hardware leaves to luck. Headers of the C++ library take longer to compile
// than a kernel does, and every test's kernel is compiled: there are none of those that are large.
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

extern "C" {  // math.h
float expf(float), fabsf(float), fmaxf(float, float), fminf(float, float), frexpf(float, int *), ldexpf(float, int), logf(float), nearbyintf(float), sqrtf(float);
}
static inline bool signbit(float x) { return __builtin_signbit(x); }

typedef uint32_t u32;
typedef uint16_t bf16;
struct uint2 { u32 x, y; };
struct alignas(16) uint4 { u32 x, y, z, w; };
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
static inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

static struct { u32 x, y; } threadIdx, blockIdx;

#define KERNEL(blocks) static void
#define INLINE static inline
#define SHARED(type, name) type *name = (type *)emulated::shared
#define __constant__ static

namespace emulated {
static char *shared;

enum { MOST_THREADS = 1024, STACK = 64 << 10 };

struct Thread {
  ucontext_t at;
  char *stack;
  bool ended = false;
  const void *wants = nullptr;  // which meeting it waits at: the warp's number, or the block
};
static Thread threads[MOST_THREADS];
static ucontext_t scheduler;
static u32 now;              // the running thread
static u32 slots[MOST_THREADS][16];  // what each thread lays down at a meeting

static const char block_meeting = 0;
static char warp_meeting[32];

// meet waits until all threads of the warp, or of the block, have come to the same meeting.
static void meet(const void *where) {
  threads[now].wants = where;
  swapcontext(&threads[now].at, &scheduler);
}
static void meet_warp() { meet(&warp_meeting[now / 32]); }

// Lanes is what all lanes of a warp have of something.
template <class T> struct Lanes {
  T all[32];
  const T &operator[](u32 lane) const { return all[lane]; }
};

// collect lays v down and returns what all lanes of the warp laid down.
template <class T> static Lanes<T> collect(const T &v) {
  static_assert(sizeof(T) <= sizeof(slots[0]));
  u32 me = now, first = me / 32 * 32;
  memcpy(slots[me], &v, sizeof v);
  meet_warp();
  Lanes<T> lanes;
  for (int i = 0; i < 32; i++) memcpy(&lanes.all[i], slots[first + i], sizeof v);
  meet_warp();
  return lanes;
}
}  // namespace emulated

static inline void __syncthreads() { emulated::meet(&emulated::block_meeting); }
static inline void __syncwarp() { emulated::meet_warp(); }

INLINE float bits(u32 x) { float f; memcpy(&f, &x, 4); return f; }
INLINE float low(u32 x) { return bits(x << 16); }
INLINE float high(u32 x) { return bits(x & 0xffff0000u); }
INLINE bf16 narrow(float a) {
  u32 x;
  memcpy(&x, &a, 4);
  if (a != a) return 0x7fff;
  return (x + 0x7fff + (x >> 16 & 1)) >> 16;
}
INLINE u32 pair(float a, float b) { return narrow(a) | (u32)narrow(b) << 16; }

INLINE void product(float *c, const u32 *a, u32 b0, u32 b1) {
  struct Own { u32 a[4], b[2]; float c[4]; } own = {{a[0], a[1], a[2], a[3]}, {b0, b1}, {c[0], c[1], c[2], c[3]}};
  emulated::Lanes<Own> all = emulated::collect(own);
  auto half = [](u32 x, int i) { return i ? high(x) : low(x); };
  auto A = [&](int row, int k) { return half(all[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], k % 2); };
  auto B = [&](int k, int col) { return half(all[col * 4 + k % 8 / 2].b[k / 8], k % 2); };
  int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
  for (int i = 0; i < 4; i++)
    for (int k = 0; k < 16; k++) c[i] += A(g + i / 2 * 8, k) * B(k, 2 * q + i % 2);
}

INLINE u32 transposed(u32 x) {
  emulated::Lanes<u32> all = emulated::collect(x);
  int g = threadIdx.x % 32 / 4, q = threadIdx.x % 4;
  auto at = [&](int row, int col) { return all[row * 4 + col / 2] >> (col % 2 * 16) & 0xffff; };
  return at(2 * q, g) | at(2 * q + 1, g) << 16;
}

INLINE uint4 once(const uint4 *p) { return *p; }
INLINE float exchanged(float x, int mask) { return emulated::collect(x)[(threadIdx.x % 32) ^ mask]; }
INLINE float exponential(float x) { return expf(x); }
INLINE float logistic(float x) { return 1.f / (1.f + expf(-x)); }
INLINE float root(float x) { return 1.f / sqrtf(x); }

namespace emulated {
static void (*body)();

static void enter() {
  body();
  threads[now].ended = true;
  threads[now].wants = nullptr;
  swapcontext(&threads[now].at, &scheduler);
}

static void resume(u32 i) {
  now = i;
  threadIdx.x = i;
  threads[i].wants = nullptr;
  swapcontext(&scheduler, &threads[i].at);
}

// gathered tells whether threads [first, last) all wait at the same meeting as the first of them.
static bool gathered(u32 first, u32 last) {
  for (u32 i = first; i < last; i++)
    if (threads[i].wants != threads[first].wants) return false;
  return threads[first].wants != nullptr;
}

// run_block runs one block to its end; false if its threads wait for each other at different meetings.
static bool run_block(u32 n) {
  for (u32 i = 0; i < n; i++) {
    Thread &t = threads[i];
    t.ended = false;
    t.wants = nullptr;
    getcontext(&t.at);
    t.at.uc_stack.ss_sp = t.stack;
    t.at.uc_stack.ss_size = STACK;
    t.at.uc_link = nullptr;
    makecontext(&t.at, enter, 0);
  }
  for (u32 i = 0; i < n; i++) resume(i);
  for (;;) {
    bool moved = false;
    for (u32 w = 0; w < n; w += 32) {
      if (!gathered(w, w + 32) || threads[w].wants == &block_meeting) continue;
      for (u32 i = w; i < w + 32; i++) resume(i);
      moved = true;
    }
    if (!moved && gathered(0, n)) {
      for (u32 i = 0; i < n; i++) resume(i);
      moved = true;
    }
    if (moved) continue;
    for (u32 i = 0; i < n; i++)
      if (!threads[i].ended) return false;
    return true;
  }
}

// call hands the parameters to a kernel, which takes pointers one by one or all of them as one struct.
template <class P> static P parameter(void **p) {
  P value;
  memcpy(&value, p, sizeof value);
  return value;
}
template <size_t... I> struct Indices {};
template <size_t N, size_t... I> struct Count : Count<N - 1, N - 1, I...> {};
template <size_t... I> struct Count<0, I...> { typedef Indices<I...> Up; };
template <class... P, size_t... I> static void call(void (*f)(P...), void **p, Indices<I...>) { f(parameter<P>(p + I)...); }
template <class... P> static void call(void (*f)(P...), void **p) { call(f, p, typename Count<sizeof...(P)>::Up()); }

static void **parameters;
}  // namespace emulated

// EMULATE defines gorun_emulate, which runs a kernel's whole grid; it returns 1 if a block's threads got stuck.
#define EMULATE(kernel, columns, rows, block, bytes)                         \
  extern "C" int gorun_emulate(void **p) {                                   \
    using namespace emulated;                                                \
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;                  \
    pthread_mutex_lock(&one); /* XLA calls from its threads */               \
    static_assert(block <= MOST_THREADS);                                    \
    for (u32 i = 0; i < block; i++)                                          \
      if (!threads[i].stack) threads[i].stack = (char *)malloc(STACK);       \
    shared = (char *)aligned_alloc(64, ((bytes) + 64) / 64 * 64);            \
    parameters = p;                                                          \
    body = [] { call(kernel, parameters); };                                 \
    bool fine = true;                                                        \
    for (u32 y = 0; y < rows && fine; y++)                                   \
      for (u32 x = 0; x < columns && fine; x++) {                            \
        blockIdx.x = x, blockIdx.y = y;                                      \
        memset(shared, 0xff, bytes); /* what nobody wrote is no number */    \
        fine = run_block(block);                                             \
      }                                                                      \
    free(shared);                                                            \
    pthread_mutex_unlock(&one);                                              \
    return !fine;                                                            \
  }
