// The product of a few rows x [R,K] with a matrix w, whose every number is needed once: nothing counts but how fast w is
// read. A warp takes ROWS columns of the result, LOOPS times; for each it reads a row of w, or, GATED, two. A lane takes
// every 32nd eight of all of these rows, AHEAD at a time, and fetches the next while it adds up the last. x lies in shared
// memory.
#define EIGHTS (K / 8)
#define TURNS ((EIGHTS + 31) / 32)
#define LINES (ROWS * (1 + GATED))
#define WARPS (THREADS / 32)

INLINE void put(float *p, float v) { *p = v; }
INLINE void put(bf16 *p, float v) { *p = narrow(v); }

// line is which row of w line i of a warp is; the last warp may have some that are beyond, and reads others for them.
INLINE int line(int first, int i) {
  int column = first + i % ROWS;
  return (column < N ? column : N - 1) + i / ROWS * N;
}

// Fetched are AHEAD eights of each line.
struct Fetched { uint4 w[LINES][AHEAD]; };

INLINE Fetched fetch(const bf16 *w, int first, int turn) {
  Fetched f;
#pragma unroll
  for (int a = 0; a < AHEAD; a++) {
    int at = (turn + a) * 32 + threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < LINES; i++)
      f.w[i][a] = at < EIGHTS ? once((const uint4 *)(w + (size_t)line(first, i) * K) + at) : make_uint4(0, 0, 0, 0);
  }
  return f;
}

INLINE float dot(const Eight &a, const Eight &b) {
  float sum = 0;
#pragma unroll
  for (int e = 0; e < 8; e++) sum += a.v[e] * b.v[e];
  return sum;
}

// whole adds up what the lanes have, for all of them.
INLINE float whole(float sum) {
  for (int mask = 16; mask; mask /= 2) sum += exchanged(sum, mask);
  return sum;
}

// load puts x into shared memory; with NORM its RMSNorm. memory has R numbers a warp.
INLINE void load(uint4 *own, float *memory, const bf16 *x, const bf16 *weight) {
  float squares[R];
#pragma unroll
  for (int r = 0; r < R; r++) {
    squares[r] = 0;
    for (int i = threadIdx.x; i < EIGHTS; i += THREADS) {
      uint4 p = ((const uint4 *)(x + (size_t)r * K))[i];
      own[r * EIGHTS + i] = p;
      squares[r] += dot(numbers(p), numbers(p));
    }
  }
#if NORM
#pragma unroll
  for (int r = 0; r < R; r++) {
    squares[r] = whole(squares[r]);
    if (threadIdx.x % 32 == 0) memory[r * WARPS + threadIdx.x / 32] = squares[r];
  }
  __syncthreads();
#pragma unroll
  for (int r = 0; r < R; r++) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < WARPS; w++) sum += memory[r * WARPS + w];
    float scale = root(sum / K + EPS);
    for (int i = threadIdx.x; i < EIGHTS; i += THREADS) {
      Eight n = numbers(own[r * EIGHTS + i]), g = read(weight + 8 * i);
#pragma unroll
      for (int e = 0; e < 8; e++) n.v[e] *= scale;
      n = numbers(pieces(n));  // rounded before the weight, as transformers does
#pragma unroll
      for (int e = 0; e < 8; e++) n.v[e] *= g.v[e];
      own[r * EIGHTS + i] = pieces(n);
    }
  }
#endif
  __syncthreads();
}
