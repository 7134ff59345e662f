// 8-bit floats: two, or four, numbers as E4M3 or E5M2, the first the lowest byte. What is beyond a format becomes its
// greatest number; nothing is, in units of unit_of. GPUs have instructions for it from sm_89 on.
#ifdef __CUDACC__
#define CONVERT(format, a, b)                                                                          \
  unsigned short x;                                                                                    \
  asm("cvt.rn.satfinite." format "x2.f32 %0, %1, %2;" : "=h"(x) : "f"(b), "f"(a));                     \
  return x
INLINE u32 e4m3(float a, float b) { CONVERT("e4m3", a, b); }
INLINE u32 e5m2(float a, float b) { CONVERT("e5m2", a, b); }
INLINE float power_of(float x) { return __uint_as_float(__float_as_uint(x) & 0x7f800000u); }
#else
// float8 rounds to a format with that many bits of mantissa, that least exponent and that greatest number.
INLINE u32 float8(float x, int mantissa, int least, float greatest) {
  u32 sign = signbit(x) ? 0x80 : 0;
  if (x != x) return 0x7f;  // no number in both
  float size = fminf(fabsf(x), greatest);
  int exponent;
  frexpf(size, &exponent);
  exponent = size == 0 || exponent - 1 < least ? least : exponent - 1;
  u32 steps = (u32)nearbyintf(ldexpf(size, mantissa - exponent));  // to even, as rounding is by default
  return sign | (((u32)(exponent - least) << mantissa) + steps);
}
INLINE u32 e4m3(float a, float b) { return float8(a, 3, -6, 448) | float8(b, 3, -6, 448) << 8; }
INLINE u32 e5m2(float a, float b) { return float8(a, 2, -14, 57344) | float8(b, 2, -14, 57344) << 8; }
INLINE float power_of(float x) {
  u32 b;
  memcpy(&b, &x, 4);
  return bits(b & 0x7f800000u);
}
#endif

// eight8 is eight numbers in 8-bit floats, e4m3 or e5m2, in the unit whose reciprocal is given.
template <u32 (*NARROW)(float, float)>
INLINE uint2 eight8(const float *v, float inverse) {
  u32 w[4];
#pragma unroll
  for (int i = 0; i < 4; i++) w[i] = NARROW(v[2 * i] * inverse, v[2 * i + 1] * inverse);
  return {w[0] | w[1] << 16, w[2] | w[3] << 16};
}

// unit_of is what one of E4M3's numbers counts in an array of which the greatest is `most`.
INLINE float unit_of(float most) { return power_of(fmaxf(most, 0x1p-64f)) * 0x1p-7f; }
