// h = x / rms(x) * weight; with ADD of x + y instead, which is written too. With FLOAT8 h is written in E4M3 besides.
KERNEL(BLOCKS)
norm_forward(const bf16 *x,
#if ADD
             const bf16 *y,
#endif
             const bf16 *weight,
#if FLOAT8
             const float *inverse,
#endif
#if ADD
             bf16 *sum,
#endif
             bf16 *h
#if FLOAT8
             , unsigned char *h8
#endif
) {
  SHARED(float, memory);
  size_t row = (size_t)blockIdx.x * D;
  Eight own[EACH];
  float squares = 0;
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    if (!FULL(i)) continue;
    size_t at = row + 8 * MINE(i);
    own[i] = read_once(x + at);
#if ADD
    Eight other = read_once(y + at);
#pragma unroll
    for (int e = 0; e < 8; e++) own[i].v[e] += other.v[e];
    uint4 rounded = pieces(own[i]);
    *(uint4 *)(sum + at) = rounded;
    own[i] = numbers(rounded);
#endif
#pragma unroll
    for (int e = 0; e < 8; e++) squares += own[i].v[e] * own[i].v[e];
  }
  float r = root(sums(squares, 0.f, memory).x / D + EPS);
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    if (!FULL(i)) continue;
    Eight w = read(weight + 8 * MINE(i)), n;
#pragma unroll
    for (int e = 0; e < 8; e++) n.v[e] = own[i].v[e] * r;
    n = numbers(pieces(n));  // rounded before the weight, as transformers does
#pragma unroll
    for (int e = 0; e < 8; e++) n.v[e] *= w.v[e];
    uint4 rounded = pieces(n);
    *(uint4 *)(h + row + 8 * MINE(i)) = rounded;
#if FLOAT8
    *(uint2 *)(h8 + row + 8 * MINE(i)) = eight8<e4m3>(numbers(rounded).v, *inverse);
#endif
  }
}
