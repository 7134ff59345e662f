// dx = dy + the gradient of x through h = x / rms(x) * weight: with r = 1 / rms(x) and g = dh * weight,
// r * g - x * r^3 * mean(g * x). r [T] is given too: it makes A's gradient from x, without h. With
// FLOAT8 so is the greatest magnitude in each row of dx [T], as it was rounded.
KERNEL(BLOCKS)
norm_backward(const bf16 *dh, const bf16 *x, const bf16 *dy, const bf16 *weight, bf16 *dx, float *scale
#if FLOAT8
              , float *most
#endif
) {
  SHARED(float, memory);
  size_t row = (size_t)blockIdx.x * D;
  Eight own[EACH], g[EACH];
  float squares = 0, dot = 0;
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    if (!FULL(i)) continue;
    size_t at = row + 8 * MINE(i);
    own[i] = read_once(x + at);
    g[i] = read_once(dh + at);
    Eight w = read(weight + 8 * MINE(i));
#pragma unroll
    for (int e = 0; e < 8; e++) {
      g[i].v[e] *= w.v[e];
      squares += own[i].v[e] * own[i].v[e];
      dot += own[i].v[e] * g[i].v[e];
    }
  }
  float2 all = sums(squares, dot, memory);
  float r = root(all.x / D + EPS), back = all.y / D * r * r;
  if (threadIdx.x == 0) scale[blockIdx.x] = r;
#if FLOAT8
  float own_most = 0;
#endif
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    if (!FULL(i)) continue;
    size_t at = row + 8 * MINE(i);
    Eight d = read_once(dy + at);
#pragma unroll
    for (int e = 0; e < 8; e++) d.v[e] += r * (g[i].v[e] - own[i].v[e] * back);
    uint4 rounded = pieces(d);
    *(uint4 *)(dx + at) = rounded;
#if FLOAT8
    d = numbers(rounded);
#pragma unroll
    for (int e = 0; e < 8; e++) own_most = fmaxf(own_most, fabsf(d.v[e]));
#endif
  }
#if FLOAT8
  __syncthreads();  // all have read the sums
  own_most = greatest(own_most, memory);
  if (threadIdx.x == 0) most[blockIdx.x] = own_most;
#endif
}
