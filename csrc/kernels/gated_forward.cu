// With FLOAT8 m is written in E4M3: a row's columns of a block in the unit of the greatest among them, a unit for each row
// and each of the SIDE blocks that are side by side [T,SIDE].
// Shared memory: each warp's operands, then two turns of every warp's [16,DOWN] part of tm, and of the greatest in its rows.
KERNEL(BLOCKS)
gated_forward(const bf16 *gu,
#if DIM
              const bf16 *t, const bf16 *b,
#endif
#if DOWN
              const bf16 *a,
#endif
#if FLOAT8
              unsigned char *m, float *unit
#else
              bf16 *m
#endif
#if DOWN
              , bf16 *tm
#endif
#if FLOAT8
              , float *most
#endif
) {
  SHARED(u32, memory);
  Lane l = this_lane();
  int warp = threadIdx.x / 32, column = (blockIdx.x * WARPS + warp) * WARP_COLUMNS;
  u32 *own = memory + warp * (2 * STEPS + DOWN_STEPS) * OPERAND;
#if DIM
  for (int k = 0; k < STEPS; k++) {
    keep(own + 2 * k * OPERAND, by_column(b + (size_t)column * DIM + 16 * k, DIM, l), l.lane);
    keep(own + (2 * k + 1) * OPERAND, by_column(b + (size_t)(F + column) * DIM + 16 * k, DIM, l), l.lane);
  }
#endif
  float *parts = (float *)(memory + WARPS * (2 * STEPS + DOWN_STEPS) * OPERAND);
#if DOWN
  for (int k = 0; k < DOWN_STEPS; k++)
    keep(own + (2 * STEPS + k) * OPERAND, by_inner_of(a + (size_t)16 * k * F + column, F, l), l.lane);
#endif
  __syncwarp();

#if FLOAT8
  float greatest = 0;
#endif
  int first = (long long)TILES * blockIdx.y / GROUPS, last = (long long)TILES * (blockIdx.y + 1) / GROUPS;
  Pieces g = fetch(gu + column, first * 16, 2 * F, l), u = fetch(gu + F + column, first * 16, 2 * F, l);
  for (int tile = first; tile < last; tile++) {
    int row = tile * 16;
    Tile gate = numbers(g), up = numbers(u);
    if (tile + 1 < last) g = fetch(gu + column, row + 16, 2 * F, l), u = fetch(gu + F + column, row + 16, 2 * F, l);
#if DIM
#pragma unroll
    for (int k = 0; k < STEPS; k++) {
      u32 low_rank[4];
      rows_of(low_rank, t + 16 * k, row, 2 * DIM, l);
      add_product(gate, low_rank, kept(own + 2 * k * OPERAND, l.lane));
      rows_of(low_rank, t + DIM + 16 * k, row, 2 * DIM, l);
      add_product(up, low_rank, kept(own + (2 * k + 1) * OPERAND, l.lane));
    }
#endif
#if FLOAT8
#pragma unroll
    for (int i = 0; i < 16; i++) greatest = fmaxf(greatest, fmaxf(fabsf(gate.v[i]), fabsf(up.v[i])));
#endif
    Packed out;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      float x = gate.v[2 * i], y = gate.v[2 * i + 1];
      out.w[i] = pair(x * logistic(x) * up.v[2 * i], y * logistic(y) * up.v[2 * i + 1]);
    }
#if FLOAT8
    float *all = parts + (2 * DOWN + (tile & 1)) * WARPS * 16;
    float2 top = tops(out);
    if (l.q == 0) all[16 * warp + l.g] = top.x, all[16 * warp + l.g + 8] = top.y;
#else
    store(m + column, out, row, F, l);
#endif
#if DOWN
    float *turn = parts + (tile & 1) * WARPS * 16 * DOWN;
    for (int k = 0; k < DOWN_STEPS; k++)
      narrowed(turn + warp * 16 * DOWN + 16 * k, DOWN, out, kept(own + (2 * STEPS + k) * OPERAND, l.lane), l);
#endif
#if DOWN || FLOAT8
    __syncthreads();
#endif
#if FLOAT8
#pragma unroll
    for (int w = 0; w < WARPS; w++) top.x = fmaxf(top.x, all[16 * w + l.g]), top.y = fmaxf(top.y, all[16 * w + l.g + 8]);
    float first = unit_of(top.x), second = unit_of(top.y);
    store8<e4m3>(m + column, out, 1 / first, 1 / second, row, F, l);
    if (warp == 0 && l.q == 0) {
      float *at = unit + (size_t)(row + l.g) * SIDE + blockIdx.x;
      if (IN(row + l.g)) *at = first;
      if (IN(row + l.g + 8)) at[8 * SIDE] = second;
    }
#endif
#if DOWN
    for (int i = threadIdx.x; i < 16 * DOWN; i += THREADS) {
      float sum = 0;
#pragma unroll
      for (int w = 0; w < WARPS; w++) sum += turn[w * 16 * DOWN + i];
      if (IN(row + i / DOWN)) tm[((size_t)blockIdx.x * T + row) * DOWN + i] = narrow(sum);
    }
#endif
  }
#if FLOAT8
  for (int mask = 16; mask; mask /= 2) greatest = fmaxf(greatest, exchanged(greatest, mask));
  if (l.lane == 0) most[((size_t)blockIdx.y * (F / WARP_COLUMNS / WARPS) + blockIdx.x) * WARPS + warp] = greatest;
#endif
}
