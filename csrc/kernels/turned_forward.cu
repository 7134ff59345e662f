// Shared memory: each warp's operands.
KERNEL(BLOCKS)
turned_forward(const bf16 *qkv, const bf16 *t, const bf16 *b,
#if BIAS
               const float *bias,
#endif
               const float *cosine, const float *sine, bf16 *q, bf16 *k, bf16 *v) {
  SHARED(u32, memory);
  Lane l = this_lane();
  int warp = threadIdx.x / 32;
  Strip s = strip(blockIdx.x * WARPS + warp);
  u32 *own = memory + warp * 2 * STEPS * OPERAND;
  for (int i = 0; i < STEPS; i++) {
    keep(own + 2 * i * OPERAND, by_column(b + (size_t)s.at * DIM + 16 * i, DIM, l), l.lane);
    keep(own + (2 * i + 1) * OPERAND, by_column(b + (size_t)(s.at + HALF) * DIM + 16 * i, DIM, l), l.lane);
  }
  __syncwarp();
  bf16 *out = (s.third == 0 ? q : s.third == 1 ? k : v) + s.own;
  int first = (long long)TILES * blockIdx.y / GROUPS, last = (long long)TILES * (blockIdx.y + 1) / GROUPS;
  Pieces px = fetch(qkv + s.at, first * 16, N, l), py = fetch(qkv + s.at + HALF, first * 16, N, l);
  for (int tile = first; tile < last; tile++) {
    int row = tile * 16;
    Tile x = numbers(px), y = numbers(py);
    if (tile + 1 < last) px = fetch(qkv + s.at, row + 16, N, l), py = fetch(qkv + s.at + HALF, row + 16, N, l);
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
      u32 low_rank[4];
      rows_of(low_rank, t + s.third * DIM + 16 * i, row, 3 * DIM, l);
      add_product(x, low_rank, kept(own + 2 * i * OPERAND, l.lane));
      add_product(y, low_rank, kept(own + (2 * i + 1) * OPERAND, l.lane));
    }
#if BIAS
#pragma unroll
    for (int e = 0; e < 8; e++) {
      float a = bias[s.at + 8 * l.q + e], c = bias[s.at + HALF + 8 * l.q + e];
      x.v[e] += a, x.v[8 + e] += a, y.v[e] += c, y.v[8 + e] += c;
    }
#endif
    if (s.third < 2) turn(x, y, cosine, sine, row, s.angle, 1.f, l);
    store(out, packed(x), row, s.wide, l);
    store(out + HALF, packed(y), row, s.wide, l);
  }
}
