// Cross-entropy of rows of V logits: the log-probability of each row's label, and the gradient of the summed losses by the
// logits, in their memory: soft-max minus one at the label. A row whose label is negative counts nothing. A block takes a
// row; its second reading of it finds it in the cache. With FLOAT8 the gradient is in E5M2, in units of 2^-14, and elsewhere.
#define EIGHTS (V / 8)

// Top is the greatest of some logits, and the sum of their exponentials relative to it.
struct Top { float most, sum; };
INLINE Top joined(Top a, Top b) {
  float most = fmaxf(a.most, b.most);
  return {most, a.sum * expf(a.most - most) + b.sum * expf(b.most - most)};
}

// place writes eight numbers of the gradient.
#if FLOAT8
typedef unsigned char Slope;
INLINE void place(Slope *p, const Eight &x) { *(uint2 *)p = eight8<e5m2>(numbers(pieces(x)).v, 0x1p14f); }
#else
typedef bf16 Slope;
INLINE void place(Slope *p, const Eight &x) { write(p, x); }
#endif

KERNEL(BLOCKS) entropy(const bf16 *logits, const int *labels, Slope *slope, float *score) {
  SHARED(Top, tops);
  size_t row = (size_t)blockIdx.x * V;
  int label = labels[blockIdx.x];
  if (label < 0) {
    for (int i = threadIdx.x; i < EIGHTS; i += THREADS) place(slope + row + 8 * i, Eight{});
    if (threadIdx.x == 0) score[blockIdx.x] = 0.f;
    return;
  }
  float chosen = low(logits[row + label]);
  Top own = {-3e38f, 0.f};
#pragma unroll 4
  for (int i = threadIdx.x; i < EIGHTS; i += THREADS) {
    Eight x = read(logits + row + 8 * i);
    float most = own.most;
#pragma unroll
    for (int e = 0; e < 8; e++) most = fmaxf(most, x.v[e]);
    own.sum *= exponential(own.most - most);
#pragma unroll
    for (int e = 0; e < 8; e++) own.sum += exponential(x.v[e] - most);
    own.most = most;
  }
  for (int mask = 16; mask; mask /= 2) own = joined(own, {exchanged(own.most, mask), exchanged(own.sum, mask)});
  if (threadIdx.x % 32 == 0) tops[threadIdx.x / 32] = own;
  __syncthreads();
  Top all = tops[0];
  for (int w = 1; w < THREADS / 32; w++) all = joined(all, tops[w]);
  float lse = all.most + logf(all.sum);
#pragma unroll 4
  for (int i = threadIdx.x; i < EIGHTS; i += THREADS) {
    Eight x = read(logits + row + 8 * i);
#pragma unroll
    for (int e = 0; e < 8; e++) x.v[e] = exponential(x.v[e] - lse);
    if (label / 8 == i) {  // near one only the difference is exact
#pragma unroll
      for (int e = 0; e < 8; e++)
        if (label % 8 == e) x.v[e] = exponential(chosen - lse) - 1.f;
    }
    place(slope + row + 8 * i, x);
  }
  if (threadIdx.x == 0) score[blockIdx.x] = chosen - lse;
}
