// RMSNorm: a block takes one row of D numbers, of which a thread keeps EACH eights, a block's width apart, in registers.
#define EIGHTS (D / 8)
#define MINE(i) ((i) * THREADS + threadIdx.x)
#define FULL(i) (EIGHTS % THREADS == 0 || MINE(i) < EIGHTS)

// sums adds two numbers up over the block; memory has 2 numbers a warp.
INLINE float2 sums(float a, float b, float *memory) {
  for (int mask = 16; mask; mask /= 2) a += exchanged(a, mask), b += exchanged(b, mask);
  if (threadIdx.x % 32 == 0) ((float2 *)memory)[threadIdx.x / 32] = make_float2(a, b);
  __syncthreads();
  float2 all = make_float2(0.f, 0.f);
#pragma unroll
  for (int w = 0; w < THREADS / 32; w++) all.x += memory[2 * w], all.y += memory[2 * w + 1];
  return all;
}
