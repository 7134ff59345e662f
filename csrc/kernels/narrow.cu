// A row in E4M3, and its unit. It is read once: the row stays in registers while its greatest number is found.
KERNEL(BLOCKS)
narrow_rows(const bf16 *x, unsigned char *narrow, float *unit) {
  SHARED(float, memory);
  size_t row = (size_t)blockIdx.x * D;
  Eight own[EACH];
  float most = 0;
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    if (!FULL(i)) continue;
    own[i] = read_once(x + row + 8 * MINE(i));
#pragma unroll
    for (int e = 0; e < 8; e++) most = fmaxf(most, fabsf(own[i].v[e]));
  }
  for (int mask = 16; mask; mask /= 2) most = fmaxf(most, exchanged(most, mask));
  if (threadIdx.x % 32 == 0) memory[threadIdx.x / 32] = most;
  __syncthreads();
  for (int w = 0; w < THREADS / 32; w++) most = fmaxf(most, memory[w]);
  float own_unit = unit_of(most), inverse = 1 / own_unit;
#pragma unroll
  for (int i = 0; i < EACH; i++) {
    if (!FULL(i)) continue;
    float *v = own[i].v;
#pragma unroll
    for (int e = 0; e < 8; e++) v[e] *= inverse;
    uint2 out = {e4m3(v[0], v[1]) | e4m3(v[2], v[3]) << 16, e4m3(v[4], v[5]) | e4m3(v[6], v[7]) << 16};
    *(uint2 *)(narrow + row + 8 * MINE(i)) = out;
  }
  if (threadIdx.x == 0) unit[blockIdx.x] = own_unit;
}
