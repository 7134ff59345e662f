// A row of qkv is HEADS query, KV key and KV value heads of E numbers. The first ROT of each query's and key's are turned
// in pairs, i with i + ROT/2, by the row's angles; the rest are as they are. A block takes one row; an item of its work
// is 8 pairs, or 8 numbers that are not turned.
#define N ((HEADS + 2 * KV) * E)
#define HALF (ROT / 2)
#define TURNED ((HEADS + KV) * (HALF / 8))
#define KEPT ((HEADS + KV) * ((E - ROT) / 8))
#define ITEMS (TURNED + KEPT + KV * E / 8)

// Place is where an item is: number `at` of head number `head` of all.
struct Place { int head, at; };
INLINE Place place(int item) {
#if ROT
  if (item < TURNED) return {item / (HALF / 8), item % (HALF / 8) * 8};
  item -= TURNED;
#endif
#if ROT < E
  if (item < KEPT) return {item / ((E - ROT) / 8), ROT + item % ((E - ROT) / 8) * 8};
  item -= KEPT;
#endif
  return {HEADS + KV + item / (E / 8), item % (E / 8) * 8};
}

// apart is where a number is in q, k and v, or in their gradients.
template <class P> INLINE P *apart(P *q, P *k, P *v, size_t row, Place p) {
  if (p.head < HEADS) return q + (row * HEADS + p.head) * E + p.at;
  if (p.head < HEADS + KV) return k + (row * KV + p.head - HEADS) * E + p.at;
  return v + (row * KV + p.head - HEADS - KV) * E + p.at;
}

// turn turns pairs (x, y) by angles, forwards or back.
INLINE void turn(Eight &x, Eight &y, const float *cosine, const float *sine, float sign) {
  Eight c = floats(cosine), s = floats(sine);
#pragma unroll
  for (int e = 0; e < 8; e++) {
    float a = x.v[e], b = y.v[e], t = sign * s.v[e];
    x.v[e] = a * c.v[e] - b * t;
    y.v[e] = b * c.v[e] + a * t;
  }
}
