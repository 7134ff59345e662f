// A warp's tile of a matrix of bfloat16: 16 rows by 32 columns, in an order of columns that lets every lane own 8
// consecutive ones, so that memory is read and written 16 bytes at a time, and that is still the order in which the
// tensor cores want operands and give results.
//
// Lane 4g+q owns rows g and g+8, columns 8q to 8q+7. Column n of product j of the four that cover the tile is the tile's
// column 8(n/2) + 2j + n%2: of the 8 by 8 result of product j, lane 4g+q has columns 2q and 2q+1, its own 2j and 2j+1.
//
// Low-rank matrices come in steps of 16 of their inner size. Each warp keeps the operands that it makes of them in shared
// memory, as every lane wants them: 8 words.
#define WARP_COLUMNS 32
#define TILES ((T + 15) / 16)               // of the rows
#define IN(row) (T % 16 == 0 || (row) < T)  // the last tile may be a part of one

struct Operand { u32 w[8]; };

struct Lane { int lane, g, q; };
INLINE Lane this_lane() {
  int lane = threadIdx.x % 32;
  return {lane, lane / 4, lane % 4};
}

INLINE void keep(u32 *memory, const Operand &o, int lane) {
  uint4 *m = (uint4 *)memory;
  m[lane] = make_uint4(o.w[0], o.w[1], o.w[2], o.w[3]);
  m[32 + lane] = make_uint4(o.w[4], o.w[5], o.w[6], o.w[7]);
}
INLINE Operand kept(const u32 *memory, int lane) {
  const uint4 *m = (const uint4 *)memory;
  uint4 a = m[lane], b = m[32 + lane];
  return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}
#define OPERAND 256  // words of an operand in memory

INLINE u32 two(const bf16 *a, const bf16 *b) { return (u32)*a | (u32)*b << 16; }

// by_column makes the right operand of t [16,16] times b^T, b being [columns, inner] from its first of 32 columns and
// first of 16 inner places on.
INLINE Operand by_column(const bf16 *b, int inner, Lane l) {
  Operand o;
  for (int j = 0; j < 4; j++) {
    const bf16 *p = b + (size_t)(l.g / 2 * 8 + 2 * j + l.g % 2) * inner + 2 * l.q;
    o.w[2 * j] = *(const u32 *)p;
    o.w[2 * j + 1] = *(const u32 *)(p + 8);
  }
  return o;
}

// by_column_of is by_column of a matrix that lies the other way: a [inner, columns].
INLINE Operand by_column_of(const bf16 *a, size_t columns, Lane l) {
  Operand o;
  for (int j = 0; j < 4; j++) {
    const bf16 *p = a + l.g / 2 * 8 + 2 * j + l.g % 2 + 2 * l.q * columns;
    o.w[2 * j] = two(p, p + columns);
    o.w[2 * j + 1] = two(p + 8 * columns, p + 9 * columns);
  }
  return o;
}

// by_inner makes the right operand of a tile [16,32] times b, b being [columns, inner].
INLINE Operand by_inner(const bf16 *b, int inner, Lane l) {
  Operand o;
  for (int k = 0; k < 2; k++)
    for (int n = 0; n < 2; n++) {
      const bf16 *p = b + (size_t)(8 * l.q + 4 * k) * inner + l.g + 8 * n;
      o.w[4 * k + 2 * n] = two(p, p + inner);
      o.w[4 * k + 2 * n + 1] = two(p + 2 * inner, p + 3 * inner);
    }
  return o;
}

// by_inner_of is by_inner of a matrix that lies the other way: a [inner, columns].
INLINE Operand by_inner_of(const bf16 *a, size_t columns, Lane l) {
  Operand o;
  for (int n = 0; n < 2; n++) {
    uint4 v = *(const uint4 *)(a + (l.g + 8 * n) * columns + 8 * l.q);
    o.w[2 * n] = v.x, o.w[2 * n + 1] = v.y, o.w[4 + 2 * n] = v.z, o.w[5 + 2 * n] = v.w;
  }
  return o;
}

// rows_of makes the left operand of 16 columns of t, whose rows are `inner` wide; rows beyond the last are zero.
INLINE void rows_of(u32 *a, const bf16 *t, int row, int inner, Lane l) {
  const bf16 *p = t + (size_t)(row + l.g) * inner + 2 * l.q;
  bool first = IN(row + l.g), second = IN(row + l.g + 8);
  a[0] = first ? *(const u32 *)p : 0;
  a[1] = second ? *(const u32 *)(p + 8 * inner) : 0;
  a[2] = first ? *(const u32 *)(p + 8) : 0;
  a[3] = second ? *(const u32 *)(p + 8 * inner + 8) : 0;
}

// Tile is what a lane owns of a tile: 8 numbers of row g, then 8 of row g+8.
struct Tile { float v[16]; };
struct Packed { u32 w[8]; };  // the same as pairs

struct Pieces { uint4 first, second; };  // the same as in memory

// fetch reads a tile of x from its own column on; rows beyond the last are zero.
INLINE Pieces fetch(const bf16 *x, int row, size_t width, Lane l) {
  const bf16 *p = x + (size_t)(row + l.g) * width + 8 * l.q;
  uint4 none = make_uint4(0, 0, 0, 0);
  return {IN(row + l.g) ? once((const uint4 *)p) : none, IN(row + l.g + 8) ? once((const uint4 *)(p + 8 * width)) : none};
}

INLINE Tile numbers(const Pieces &p) {
  u32 w[8] = {p.first.x, p.first.y, p.first.z, p.first.w, p.second.x, p.second.y, p.second.z, p.second.w};
  Tile t;
#pragma unroll
  for (int i = 0; i < 8; i++) t.v[2 * i] = low(w[i]), t.v[2 * i + 1] = high(w[i]);
  return t;
}

INLINE void store(bf16 *x, const Packed &p, int row, size_t width, Lane l) {
  bf16 *at = x + (size_t)(row + l.g) * width + 8 * l.q;
  if (IN(row + l.g)) *(uint4 *)at = make_uint4(p.w[0], p.w[1], p.w[2], p.w[3]);
  if (IN(row + l.g + 8)) *(uint4 *)(at + 8 * width) = make_uint4(p.w[4], p.w[5], p.w[6], p.w[7]);
}

// add_product adds t times b^T to a tile: t by rows_of, b by_column.
INLINE void add_product(Tile &x, const u32 *t, const Operand &b) {
#pragma unroll
  for (int j = 0; j < 4; j++) {
    float c[4] = {x.v[2 * j], x.v[2 * j + 1], x.v[8 + 2 * j], x.v[9 + 2 * j]};
    product(c, t, b.w[2 * j], b.w[2 * j + 1]);
    x.v[2 * j] = c[0], x.v[2 * j + 1] = c[1], x.v[8 + 2 * j] = c[2], x.v[9 + 2 * j] = c[3];
  }
}

// multiply adds to c [16,16] the product of a tile and b, by_inner.
INLINE void multiply(float c[2][4], const Packed &x, const Operand &b) {
#pragma unroll
  for (int k = 0; k < 2; k++) {
    u32 a[4] = {x.w[2 * k], x.w[4 + 2 * k], x.w[2 * k + 1], x.w[5 + 2 * k]};
#pragma unroll
    for (int n = 0; n < 2; n++) product(c[n], a, b.w[4 * k + 2 * n], b.w[4 * k + 2 * n + 1]);
  }
}

// put writes c [16,16] to the first 16 columns of rows of `width` numbers.
INLINE void put(float *out, int width, const float c[2][4], Lane l) {
#pragma unroll
  for (int n = 0; n < 2; n++) {
    float *p = out + l.g * width + 8 * n + 2 * l.q;
    *(float2 *)p = make_float2(c[n][0], c[n][1]);
    *(float2 *)(p + 8 * width) = make_float2(c[n][2], c[n][3]);
  }
}

// narrowed multiplies a tile with b, by_inner, and puts the result.
INLINE void narrowed(float *out, int width, const Packed &x, const Operand &b, Lane l) {
  float c[2][4] = {};
  multiply(c, x, b);
  put(out, width, c, l);
}

// Sum is a lane's part of the sum, over the rows of many tiles, of t^T times x: [16,32].
struct Sum { float c[4][4]; };

INLINE void add_rows(Sum &s, const u32 *t, const Packed &x) {
  u32 a[4] = {transposed(t[0]), transposed(t[2]), transposed(t[1]), transposed(t[3])};
#pragma unroll
  for (int j = 0; j < 4; j++) product(s.c[j], a, transposed(x.w[j]), transposed(x.w[4 + j]));
}

// store_sum writes a sum to rows of `width` numbers.
INLINE void store_sum(float *out, size_t width, const Sum &s, Lane l) {
#pragma unroll
  for (int h = 0; h < 2; h++) {
    float *p = out + (l.g + 8 * h) * width + 8 * l.q;
    *(float4 *)p = make_float4(s.c[0][2 * h], s.c[0][2 * h + 1], s.c[1][2 * h], s.c[1][2 * h + 1]);
    *(float4 *)(p + 4) = make_float4(s.c[2][2 * h], s.c[2][2 * h + 1], s.c[3][2 * h], s.c[3][2 * h + 1]);
  }
}
