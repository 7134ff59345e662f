// rotary.cuh's work with adapters inside, on tiles: qkv += t B^T before it is taken apart and turned, and backwards B's
// gradient and dqkv B. t is [T,3*DIM], q's columns first, then k's, then v's; b [N,DIM], already scaled.
//
// A warp has a strip of two tiles, 32 columns each, half a turned part apart: numbers that are turned together are in the
// same place of both. Values are not turned, and their tiles lie side by side. A block's warps are all among q, k or v.
#define STEPS (DIM / 16)
#define N ((HEADS + 2 * KV) * E)
#define HALF (E / 2)
#define STRIPS (E / 64)  // of a head

struct Strip {
  int third;     // 0 = q, 1 = k, 2 = v
  int at;        // its first tile's column in qkv
  int own, wide; // its first tile's column in q, k or v, and how wide that is
  int angle;     // its first angle
};

INLINE Strip strip(int number) {
  int head = number / STRIPS, part = number % STRIPS, third = (head >= HEADS) + (head >= HEADS + KV);
  int first = third == 0 ? 0 : third == 1 ? HEADS : HEADS + KV;
  int column = 32 * part;
  return {third, head * E + column, (head - first) * E + column, (third == 0 ? HEADS : KV) * E, column};
}

// turn turns the pairs of two tiles by their rows' angles, forwards or back.
INLINE void turn(Tile &x, Tile &y, const float *cosine, const float *sine, int row, int angle, float sign, Lane l) {
#pragma unroll
  for (int h = 0; h < 2; h++) {
    if (!IN(row + l.g + 8 * h)) continue;
    size_t at = (size_t)(row + l.g + 8 * h) * HALF + angle + 8 * l.q;
#pragma unroll
    for (int e = 0; e < 8; e += 4) {
      float4 c4 = *(const float4 *)(cosine + at + e), s4 = *(const float4 *)(sine + at + e);
      float c[4] = {c4.x, c4.y, c4.z, c4.w}, s[4] = {s4.x, s4.y, s4.z, s4.w};
#pragma unroll
      for (int i = 0; i < 4; i++) {
        float &a = x.v[8 * h + e + i], &b = y.v[8 * h + e + i];
        float before = a, t = sign * s[i];
        a = before * c[i] - b * t;
        b = b * c[i] + before * t;
      }
    }
  }
}

INLINE Packed packed(const Tile &t) {
  Packed p;
#pragma unroll
  for (int i = 0; i < 8; i++) p.w[i] = pair(t.v[2 * i], t.v[2 * i + 1]);
  return p;
}
