// Shared memory: each warp's operands, then two turns of every warp's [16,2*DIM] part of sgu.
KERNEL(BLOCKS)
gated_backward(const bf16 *gu,
#if DIM
               const bf16 *t, const bf16 *b,
#endif
               const bf16 *dm,
#if FLOAT8
               const float *unit,
#endif
#if DOWN
               const bf16 *s, const bf16 *a,
#endif
#if FLOAT8
               const float *inverse, unsigned char *dgu
#else
               bf16 *dgu
#endif
#if DOWN
               , float *da
#endif
#if DIM
               , float *db, bf16 *sgu
#endif
#if PRODUCT
               , bf16 *m
#endif
) {
  SHARED(u32, memory);
  Lane l = this_lane();
  int warp = threadIdx.x / 32, column = (blockIdx.x * WARPS + warp) * WARP_COLUMNS;
  // Of each step of DIM: gate's and up's B by column, and by inner place; then of each step of DOWN, A by column.
  u32 *own = memory + warp * (4 * STEPS + DOWN_STEPS) * OPERAND;
#if DIM
  float *parts = (float *)(memory + WARPS * (4 * STEPS + DOWN_STEPS) * OPERAND);
  for (int k = 0; k < STEPS; k++) {
    const bf16 *gate = b + (size_t)column * DIM + 16 * k, *up = gate + (size_t)F * DIM;
    keep(own + 4 * k * OPERAND, by_column(gate, DIM, l), l.lane);
    keep(own + (4 * k + 1) * OPERAND, by_column(up, DIM, l), l.lane);
    keep(own + (4 * k + 2) * OPERAND, by_inner(gate, DIM, l), l.lane);
    keep(own + (4 * k + 3) * OPERAND, by_inner(up, DIM, l), l.lane);
  }
  Sum sum_gate[STEPS] = {}, sum_up[STEPS] = {};
#endif
#if DOWN
  for (int k = 0; k < DOWN_STEPS; k++)
    keep(own + (4 * STEPS + k) * OPERAND, by_column_of(a + (size_t)16 * k * F + column, F, l), l.lane);
  Sum sum_down[DOWN_STEPS] = {};
#endif
  __syncwarp();

  int first = (long long)TILES * blockIdx.y / GROUPS, last = (long long)TILES * (blockIdx.y + 1) / GROUPS;
  for (int tile = first; tile < last; tile++) {
    int row = tile * 16;
    Pieces g = fetch(gu + column, row, 2 * F, l), u = fetch(gu + F + column, row, 2 * F, l), d = fetch(dm + column, row, F, l);
#if DIM
    u32 t_gate[STEPS][4], t_up[STEPS][4];
#pragma unroll
    for (int k = 0; k < STEPS; k++) {
      rows_of(t_gate[k], t + 16 * k, row, 2 * DIM, l);
      rows_of(t_up[k], t + DIM + 16 * k, row, 2 * DIM, l);
    }
#endif
#if DOWN
    u32 s_down[DOWN_STEPS][4];
#pragma unroll
    for (int k = 0; k < DOWN_STEPS; k++) rows_of(s_down[k], s + 16 * k, row, DOWN, l);
#endif
    Tile gate = numbers(g), up = numbers(u), slope = numbers(d);
#if DIM
#pragma unroll
    for (int k = 0; k < STEPS; k++) {
      add_product(gate, t_gate[k], kept(own + 4 * k * OPERAND, l.lane));
      add_product(up, t_up[k], kept(own + (4 * k + 1) * OPERAND, l.lane));
    }
#endif
#if FLOAT8
    in_units(slope, unit, row, l);
#endif
#if DOWN
#pragma unroll
    for (int k = 0; k < DOWN_STEPS; k++) add_product(slope, s_down[k], kept(own + (4 * STEPS + k) * OPERAND, l.lane));
#endif
    Packed m_out, dgate, dup;
#pragma unroll
    for (int i = 0; i < 8; i++) {
      float mm[2], dg[2], du[2];
#pragma unroll
      for (int e = 0; e < 2; e++) {
        float x = gate.v[2 * i + e], y = up.v[2 * i + e], dy = slope.v[2 * i + e], sigma = logistic(x), silu = x * sigma;
        mm[e] = silu * y;
        du[e] = dy * silu;
        dg[e] = dy * y * (sigma + silu * (1.f - sigma));
      }
      m_out.w[i] = pair(mm[0], mm[1]), dgate.w[i] = pair(dg[0], dg[1]), dup.w[i] = pair(du[0], du[1]);
    }
#if FLOAT8
    store8<e5m2>(dgu + column, dgate, *inverse, *inverse, row, 2 * F, l);
    store8<e5m2>(dgu + F + column, dup, *inverse, *inverse, row, 2 * F, l);
#else
    store(dgu + column, dgate, row, 2 * F, l);
    store(dgu + F + column, dup, row, 2 * F, l);
#endif
#if PRODUCT
    store(m + column, m_out, row, F, l);
#endif
#if DOWN
#pragma unroll
    for (int k = 0; k < DOWN_STEPS; k++) add_rows(sum_down[k], s_down[k], m_out);
#endif
#if DIM
    float *turn = parts + (tile & 1) * WARPS * 32 * DIM;
#pragma unroll
    for (int k = 0; k < STEPS; k++) {
      add_rows(sum_gate[k], t_gate[k], dgate);
      add_rows(sum_up[k], t_up[k], dup);
      float *part = turn + warp * 32 * DIM + 16 * k;
      narrowed(part, 2 * DIM, dgate, kept(own + (4 * k + 2) * OPERAND, l.lane), l);
      narrowed(part + DIM, 2 * DIM, dup, kept(own + (4 * k + 3) * OPERAND, l.lane), l);
    }
    __syncthreads();
    for (int i = 2 * threadIdx.x; i < 32 * DIM; i += 2 * THREADS) {
      float x = 0, y = 0;
#pragma unroll
      for (int w = 0; w < WARPS; w++) {
        float2 v = *(const float2 *)&turn[w * 32 * DIM + i];
        x += v.x, y += v.y;
      }
      if (IN(row + i / (2 * DIM))) *(u32 *)&sgu[((size_t)blockIdx.x * T + row) * 2 * DIM + i] = pair(x, y);
    }
#endif
  }
#if DOWN
  for (int k = 0; k < DOWN_STEPS; k++)
    store_sum(da + ((size_t)blockIdx.y * DOWN + 16 * k) * F + column, F, sum_down[k], l);
#endif
#if DIM
  for (int k = 0; k < STEPS; k++) {
    store_sum(db + ((size_t)blockIdx.y * 2 * DIM + 16 * k) * F + column, F, sum_gate[k], l);
    store_sum(db + ((size_t)(blockIdx.y * 2 + 1) * DIM + 16 * k) * F + column, F, sum_up[k], l);
  }
#endif
}
