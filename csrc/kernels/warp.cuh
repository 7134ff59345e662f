// What kernels stand on: bfloat16 pairs, 16-byte accesses, and the tensor cores' product of one warp.
// For NVRTC, which has no headers but its own. emulator.cuh has the same for the CPU.
typedef unsigned int u32;
typedef unsigned short bf16;  // as bits; arithmetic is float

#define KERNEL(blocks) extern "C" __global__ void __launch_bounds__(THREADS, blocks)
#define INLINE __device__ __forceinline__
#define SHARED(type, name) extern __shared__ __align__(16) type name[]

// low and high are the two numbers of a pair, pair puts two together; the first is the low one, as in memory.
INLINE float bits(u32 x) { return __uint_as_float(x); }
INLINE float low(u32 x) { return bits(x << 16); }
INLINE float high(u32 x) { return bits(x & 0xffff0000u); }
INLINE u32 pair(float a, float b) {
  u32 x;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(x) : "f"(b), "f"(a));
  return x;
}
INLINE bf16 narrow(float a) { return (bf16)pair(a, 0.f); }

// product adds to c [16,8] the product of a [16,16] and b [16,8]. Lane 4g+q holds rows g and g+8 of a and c and column g
// of b: a[0], a[1] columns 2q, 2q+1 of both rows, a[2], a[3] columns 2q+8, 2q+9; b0 rows 2q, 2q+1, b1 rows 2q+8, 2q+9;
// c[0], c[1] columns 2q, 2q+1 of row g, c[2], c[3] those of row g+8.
INLINE void product(float *c, const u32 *a, u32 b0, u32 b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// transposed is the 8 by 8 matrix of which lane 4g+q holds columns 2q, 2q+1 of row g, with rows for columns.
INLINE u32 transposed(u32 x) {
  u32 y;
  asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

// once reads what is read no second time.
INLINE uint4 once(const uint4 *p) { return __ldcs(p); }

INLINE float exchanged(float x, int mask) { return __shfl_xor_sync(~0u, x, mask); }
INLINE float exponential(float x) { return __expf(x); }
INLINE float logistic(float x) { return __fdividef(1.f, 1.f + __expf(-x)); }
INLINE float root(float x) { return rsqrtf(x); }
