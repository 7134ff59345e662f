// Rows of bfloat16, and of float32, read and written 8 numbers at a time.
struct Eight { float v[8]; };

INLINE Eight numbers(uint4 p) {
  return {{low(p.x), high(p.x), low(p.y), high(p.y), low(p.z), high(p.z), low(p.w), high(p.w)}};
}
INLINE uint4 pieces(const Eight &e) {
  return make_uint4(pair(e.v[0], e.v[1]), pair(e.v[2], e.v[3]), pair(e.v[4], e.v[5]), pair(e.v[6], e.v[7]));
}
INLINE Eight read(const bf16 *p) { return numbers(*(const uint4 *)p); }
INLINE Eight read_once(const bf16 *p) { return numbers(once((const uint4 *)p)); }
INLINE void write(bf16 *p, const Eight &e) { *(uint4 *)p = pieces(e); }
INLINE Eight floats(const float *p) {
  float4 a = *(const float4 *)p, b = *(const float4 *)(p + 4);
  return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}
