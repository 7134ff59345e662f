// q, k and v, dense and each its own, of the rows of one product; with BIAS that is added first.
INLINE Eight biased(const bf16 *qkv, const float *bias, size_t row, int at) {
  Eight x = read_once(qkv + row * N + at);
#if BIAS
  Eight b = floats(bias + at);
#pragma unroll
  for (int e = 0; e < 8; e++) x.v[e] += b.v[e];
#endif
  return x;
}

KERNEL(BLOCKS)
rotary_forward(const bf16 *qkv,
#if BIAS
               const float *bias,
#endif
               const float *cosine, const float *sine, bf16 *q, bf16 *k, bf16 *v) {
#if !BIAS
  const float *bias = nullptr;
#endif
  size_t row = blockIdx.x;
  for (int item = threadIdx.x; item < ITEMS; item += THREADS) {
    Place p = place(item);
    int at = p.head * E + p.at;
    bf16 *out = apart(q, k, v, row, p);
    Eight x = biased(qkv, bias, row, at);
    if (item < TURNED) {
      Eight y = biased(qkv, bias, row, at + HALF);
      turn(x, y, cosine + row * HALF + p.at, sine + row * HALF + p.at, 1.f);
      write(out + HALF, y);
    }
    write(out, x);
  }
}
