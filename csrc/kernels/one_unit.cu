// Rows of E4M3 [T,D] whose UNITS parts are in units of their own [T,UNITS], powers of two, each row brought to one unit:
// that of its part with the greatest. A block takes a row.
#define PART (D / UNITS)

// widened is the lowest byte's number, scaled. Numbers below 2^-6 have no leading one: they are read as if they had, and it
// is taken off.
INLINE float widened(u32 x, float scale) {
  u32 size = x & 0x7f;
  float value = size < 8 ? bits((size << 20) + (121u << 23)) - 0x1p-6f : bits((size << 20) + (120u << 23));
  return (x & 0x80 ? -value : value) * scale;
}

KERNEL(BLOCKS)
one_unit(const unsigned char *x, const float *units, unsigned char *y, float *unit) {
  SHARED(float, memory);
  units += (size_t)blockIdx.x * UNITS;
  float own = 0;
  for (int i = threadIdx.x; i < UNITS; i += THREADS) own = fmaxf(own, units[i]);
  own = greatest(own, memory);
  size_t row = (size_t)blockIdx.x * D;
  for (int i = 16 * threadIdx.x; i < D; i += 16 * THREADS) {
    uint4 p = once((const uint4 *)(x + row + i));
    float scale = units[i / PART] / own;
    u32 w[4] = {p.x, p.y, p.z, p.w};
#pragma unroll
    for (int e = 0; e < 4; e++) {
      u32 v = w[e];
      w[e] = e4m3(widened(v, scale), widened(v >> 8, scale)) | e4m3(widened(v >> 16, scale), widened(v >> 24, scale)) << 16;
    }
    *(uint4 *)(y + row + i) = make_uint4(w[0], w[1], w[2], w[3]);
  }
  if (threadIdx.x == 0) unit[blockIdx.x] = own;
}
