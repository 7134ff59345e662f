// store8 writes a tile in 8-bit floats, e4m3 or e5m2, its rows g and g+8 in the units whose reciprocals are given.
template <u32 (*NARROW)(float, float)>
INLINE void store8(unsigned char *x, const Packed &p, float first, float second, int row, size_t width, Lane l) {
  unsigned char *at = x + (size_t)(row + l.g) * width + 8 * l.q;
  u32 w[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    u32 a = p.w[2 * i], b = p.w[2 * i + 1];
    float inverse = i < 2 ? first : second;
    w[i] = NARROW(low(a) * inverse, high(a) * inverse) | NARROW(low(b) * inverse, high(b) * inverse) << 16;
  }
  if (IN(row + l.g)) *(uint2 *)at = {w[0], w[1]};
  if (IN(row + l.g + 8)) *(uint2 *)(at + 8 * width) = {w[2], w[3]};
}

// in_units multiplies a tile's rows by their units.
INLINE void in_units(Tile &x, const float *unit, int row, Lane l) {
  float first = IN(row + l.g) ? unit[row + l.g] : 0, second = IN(row + l.g + 8) ? unit[row + l.g + 8] : 0;
#pragma unroll
  for (int e = 0; e < 8; e++) x.v[e] *= first, x.v[8 + e] *= second;
}

// tops are the greatest magnitudes in a tile's rows g and g+8.
INLINE float2 tops(const Packed &p) {
  float2 top = make_float2(0.f, 0.f);
#pragma unroll
  for (int i = 0; i < 4; i++) {
    top.x = fmaxf(top.x, fmaxf(fabsf(low(p.w[i])), fabsf(high(p.w[i]))));
    top.y = fmaxf(top.y, fmaxf(fabsf(low(p.w[4 + i])), fabsf(high(p.w[4 + i]))));
  }
  for (int mask = 1; mask < 4; mask *= 2)
    top.x = fmaxf(top.x, exchanged(top.x, mask)), top.y = fmaxf(top.y, exchanged(top.y, mask));
  return top;
}
