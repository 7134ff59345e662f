// Shared memory: each warp's operands; then two turns of every warp's [16,DIM] part of dqkv B.
KERNEL(BLOCKS)
turned_backward(const bf16 *q, const bf16 *k, const bf16 *v, const bf16 *t, const bf16 *b, const float *cosine,
                const float *sine,
#if FLOAT8
                const float *inverse, unsigned char *qkv,
#else
                bf16 *qkv,
#endif
                float *db, bf16 *sqkv) {
  SHARED(u32, memory);
  Lane l = this_lane();
  int warp = threadIdx.x / 32;
  Strip s = strip(blockIdx.x * WARPS + warp);
  u32 *own = memory + warp * 2 * STEPS * OPERAND;
  float *parts = (float *)(memory + WARPS * 2 * STEPS * OPERAND);
  for (int i = 0; i < STEPS; i++) {
    keep(own + 2 * i * OPERAND, by_inner(b + (size_t)s.at * DIM + 16 * i, DIM, l), l.lane);
    keep(own + (2 * i + 1) * OPERAND, by_inner(b + (size_t)(s.at + HALF) * DIM + 16 * i, DIM, l), l.lane);
  }
  Sum sum_x[STEPS] = {}, sum_y[STEPS] = {};
  __syncwarp();
  const bf16 *in = (s.third == 0 ? q : s.third == 1 ? k : v) + s.own;
  int first = (long long)TILES * blockIdx.y / GROUPS, last = (long long)TILES * (blockIdx.y + 1) / GROUPS;
  Pieces px = fetch(in, first * 16, s.wide, l), py = fetch(in + HALF, first * 16, s.wide, l);
  for (int tile = first; tile < last; tile++) {
    int row = tile * 16;
    Tile x = numbers(px), y = numbers(py);
    if (tile + 1 < last) px = fetch(in, row + 16, s.wide, l), py = fetch(in + HALF, row + 16, s.wide, l);
    if (s.third < 2) turn(x, y, cosine, sine, row, s.angle, -1.f, l);
    Packed dx = packed(x), dy = packed(y);
#if FLOAT8
    store8<e4m3>(qkv + s.at, dx, *inverse, *inverse, row, N, l);
    store8<e4m3>(qkv + s.at + HALF, dy, *inverse, *inverse, row, N, l);
#else
    store(qkv + s.at, dx, row, N, l);
    store(qkv + s.at + HALF, dy, row, N, l);
#endif
    float *turn_parts = parts + (tile & 1) * WARPS * 16 * DIM;
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
      u32 low_rank[4];
      rows_of(low_rank, t + s.third * DIM + 16 * i, row, 3 * DIM, l);
      add_rows(sum_x[i], low_rank, dx);
      add_rows(sum_y[i], low_rank, dy);
      float c[2][4] = {};
      multiply(c, dx, kept(own + 2 * i * OPERAND, l.lane));
      multiply(c, dy, kept(own + (2 * i + 1) * OPERAND, l.lane));
      put(turn_parts + warp * 16 * DIM + 16 * i, DIM, c, l);
    }
    __syncthreads();
    for (int i = 2 * threadIdx.x; i < 16 * DIM; i += 2 * THREADS) {
      float a = 0, c = 0;
#pragma unroll
      for (int w = 0; w < WARPS; w++) {
        float2 p = *(const float2 *)&turn_parts[w * 16 * DIM + i];
        a += p.x, c += p.y;
      }
      if (IN(row + i / DIM)) *(u32 *)&sqkv[((size_t)blockIdx.x * T + row) * DIM + i] = pair(a, c);
    }
  }
  for (int i = 0; i < STEPS; i++) {
    store_sum(db + ((size_t)blockIdx.y * DIM + 16 * i) * N + s.at, N, sum_x[i], l);
    store_sum(db + ((size_t)blockIdx.y * DIM + 16 * i) * N + s.at + HALF, N, sum_y[i], l);
  }
}
