// y = x w^T, of x's norm with NORM, plus the adapters' share with DIM, plus the bias with BIAS; GATED makes silu(gate) * up
// of the two halves of that, ADD adds to it. The columns of piece i of a fused product begin at CUTS[i]; t has DIM numbers
// for each piece.
__constant__ int CUTS[] = CUT_LIST;

// piece is the piece that line i of a warp is of.
INLINE int piece(int first, int i) {
  int row = line(first, i), p = 0;
#pragma unroll
  for (int c = 1; c < CUT_COUNT; c++) p += row >= CUTS[c];
  return p;
}

KERNEL(BLOCKS)
few(const bf16 *x,
#if NORM
    const bf16 *weight,
#endif
    const bf16 *w,
#if DIM
    const float *t, const bf16 *b,
#endif
#if BIAS
    const bf16 *bias,
#endif
#if ADD
    const bf16 *add,
#endif
    OUT *y) {
#if !NORM
  const bf16 *weight = nullptr;
#endif
  SHARED(uint4, own);
  int lane = threadIdx.x % 32, first = (blockIdx.x * WARPS + threadIdx.x / 32) * ROWS * LOOPS;
  Fetched f = fetch(w, first, 0);  // does not wait for what x is
  load(own, (float *)(own + R * EIGHTS), x, weight);
  for (int loop = 0; loop < LOOPS; loop++, first += ROWS) {
    float sum[LINES][R] = {};
#pragma unroll 1
    for (int turn = 0; turn < TURNS; turn += AHEAD) {
      Fetched now = f;
      if (turn + AHEAD < TURNS) f = fetch(w, first, turn + AHEAD);
      else if (loop + 1 < LOOPS) f = fetch(w, first + ROWS, 0);
#pragma unroll
      for (int a = 0; a < AHEAD; a++) {
        int at = (turn + a) * 32 + lane;
        if (at >= EIGHTS) continue;
#pragma unroll
        for (int r = 0; r < R; r++) {
          Eight mine = numbers(own[r * EIGHTS + at]);
#pragma unroll
          for (int i = 0; i < LINES; i++) sum[i][r] += dot(numbers(now.w[i][a]), mine);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < LINES; i++) {
#pragma unroll
      for (int r = 0; r < R; r++) {
#if DIM
        if (lane < DIM) sum[i][r] += t[(r * CUT_COUNT + piece(first, i)) * DIM + lane] * low(b[(size_t)line(first, i) * DIM + lane]);
#endif
        sum[i][r] = whole(sum[i][r]);
#if BIAS
        sum[i][r] += low(bias[line(first, i)]);
#endif
      }
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
#pragma unroll
      for (int r = 0; r < R; r++) {
        if (lane != (i * R + r) % 32 || first + i >= N) continue;
        size_t at = (size_t)r * N + first + i;
        float v = sum[i][r];
#if GATED
        float gate = low(narrow(v)), up = low(narrow(sum[i + ROWS][r]));
        v = gate * logistic(gate) * up;
#endif
#if ADD
        v = low(narrow(v)) + low(add[at]);
#endif
        put(y + at, v);
      }
    }
  }
}
