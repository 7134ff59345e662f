// A row in E4M3, its unit and its length. It is read once: the row stays in registers while its greatest number is found.
KERNEL(BLOCKS)
narrow_rows(const bf16 *x, unsigned char *narrow, float *unit, float *length) {
  SHARED(float, memory);
  size_t row = (size_t)blockIdx.x * D;
  Eight own[EACH];
  float most = 0, squares = 0;
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    if (!FULL(i)) continue;
    own[i] = read_once(x + row + 8 * MINE(i));
#pragma unroll
    for (int e = 0; e < 8; e++) most = fmaxf(most, fabsf(own[i].v[e])), squares += own[i].v[e] * own[i].v[e];
  }
  float own_unit = unit_of(greatest(most, memory)), inverse = 1 / own_unit;
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    if (!FULL(i)) continue;
    *(uint2 *)(narrow + row + 8 * MINE(i)) = eight8<e4m3>(own[i].v, inverse);
  }
  __syncthreads();  // all have read the greatest
  float all = sums(squares, 0.f, memory).x;
  if (threadIdx.x == 0) unit[blockIdx.x] = own_unit, length[blockIdx.x] = sqrtf(all);
}
