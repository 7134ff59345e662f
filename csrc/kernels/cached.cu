// The attention of one query of each text over its keys and values so far, which lie in a cache of CAPACITY places; the
// query's own are turned and stored first. A block takes the query heads that share a key head, and one of SPLITS runs of
// the keys. LANES lanes have a key, 8 numbers each; a warp has KEYS of them at once, DEEP times.
#define G (HEADS / KV)
#define LANES (E / 8)
#define KEYS (32 / LANES)
#define WARPS (THREADS / 32)
#define N ((HEADS + 2 * KV) * E)
#define HALF (ROT / 2)
#define PART (E + 2)  // what a run of keys gives of a head: the weighted sum, the greatest score, the sum of weights

INLINE int least(int a, int b) { return a < b ? a : b; }

// turned is numbers at to at + 7 of a head, the first ROT of which are turned in pairs (i, i + HALF), rounded.
INLINE Eight turned(const bf16 *head, int at, const float *cosine, const float *sine) {
  Eight x = read(head + at);
#if ROT
  if (at < ROT) {
    bool first = at < HALF;
    Eight y = read(head + (first ? at + HALF : at - HALF)), c = floats(cosine + at % HALF), s = floats(sine + at % HALF);
#pragma unroll
    for (int e = 0; e < 8; e++) x.v[e] = x.v[e] * c.v[e] + (first ? -1.f : 1.f) * y.v[e] * s.v[e];
  }
#endif
  return numbers(pieces(x));
}

// Seen is what a lane knows of the keys that it has seen, for each query head.
struct Seen {
  float top[G], sum[G];
  Eight o[G];
};

// see takes in a key and its value, unless there is none here; all lanes of a warp do so together.
INLINE void see(Seen &s, const Eight *q, const Eight &k, const Eight &v, bool here) {
#pragma unroll
  for (int g = 0; g < G; g++) {
    float score = 0;
#pragma unroll
    for (int e = 0; e < 8; e++) score += q[g].v[e] * k.v[e];
#pragma unroll
    for (int mask = LANES / 2; mask; mask /= 2) score += exchanged(score, mask);
    score = here ? score * SCALE : -1e30f;
    float top = fmaxf(s.top[g], score), keep = exponential(s.top[g] - top), p = here ? exponential(score - top) : 0.f;
    s.top[g] = top;
    s.sum[g] = s.sum[g] * keep + p;
#pragma unroll
    for (int e = 0; e < 8; e++) s.o[g].v[e] = s.o[g].v[e] * keep + p * v.v[e];
  }
}

KERNEL(BLOCKS)
cached(const bf16 *qkv, const float *cosine, const float *sine, const int *place, const bf16 *, const bf16 *, bf16 *keys,
       bf16 *values, float *parts) {
  SHARED(float, memory);
  int row = blockIdx.x / KV, head = blockIdx.x % KV, at = place[row];
  int warp = threadIdx.x / 32, key = threadIdx.x % 32 / LANES, e = threadIdx.x % LANES * 8;
  int from = WINDOW && at >= WINDOW ? at - WINDOW + 1 : 0;
  int each = (at - from) / SPLITS + 1, lo = from + blockIdx.y * each, hi = least(lo + each, at + 1);
  qkv += (size_t)row * N;
  cosine += row * HALF, sine += row * HALF;
  keys += ((size_t)row * KV + head) * CAPACITY * E + e;
  values += ((size_t)row * KV + head) * CAPACITY * E + e;
  Eight q[G];
  Seen seen = {};
#pragma unroll
  for (int g = 0; g < G; g++) {
    q[g] = turned(qkv + (head * G + g) * E, e, cosine, sine);
    seen.top[g] = -1e30f;
  }
  int old = least(hi, at);  // the last key is the query's own
  for (int base = lo; base < old; base += WARPS * KEYS * DEEP) {
    uint4 k[DEEP], v[DEEP];
#pragma unroll
    for (int d = 0; d < DEEP; d++) {
      int j = base + (d * WARPS + warp) * KEYS + key;
      k[d] = j < old ? *(const uint4 *)(keys + (size_t)j * E) : make_uint4(0, 0, 0, 0);
      v[d] = j < old ? *(const uint4 *)(values + (size_t)j * E) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int d = 0; d < DEEP; d++) see(seen, q, numbers(k[d]), numbers(v[d]), base + (d * WARPS + warp) * KEYS + key < old);
  }
  if (lo <= at && at < hi) {
    Eight k = turned(qkv + (HEADS + head) * E, e, cosine, sine), v = read(qkv + (HEADS + KV + head) * E + e);
    bool first = warp == 0 && key == 0;
    if (first) write(keys + (size_t)at * E, k), write(values + (size_t)at * E, v);
    see(seen, q, k, v, first);
  }
  // Warps and the keys of each have seen different keys: put together by all threads.
#pragma unroll
  for (int g = 0; g < G; g++) {
    float *own = memory + ((warp * KEYS + key) * G + g) * PART;
#pragma unroll
    for (int i = 0; i < 8; i++) own[e + i] = seen.o[g].v[i];
    if (e == 0) own[E] = seen.top[g], own[E + 1] = seen.sum[g];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < G * E; i += THREADS) {
    int g = i / E;
    float top = -1e30f, sum = 0, o = 0;
    for (int w = 0; w < WARPS * KEYS; w++) top = fmaxf(top, memory[(w * G + g) * PART + E]);
    for (int w = 0; w < WARPS * KEYS; w++) {
      const float *of = memory + (w * G + g) * PART;
      float p = exponential(of[E] - top);
      sum += p * of[E + 1], o += p * of[i % E];
    }
    float *out = parts + (((size_t)blockIdx.x * SPLITS + blockIdx.y) * G + g) * PART;
    out[i % E] = o;
    if (i % E == 0) out[E] = top, out[E + 1] = sum;
  }
}
