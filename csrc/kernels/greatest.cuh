// greatest is the greatest of the block's numbers, none of which is negative; memory has a number a warp.
INLINE float greatest(float a, float *memory) {
  for (int mask = 16; mask; mask /= 2) a = fmaxf(a, exchanged(a, mask));
  if (threadIdx.x % 32 == 0) memory[threadIdx.x / 32] = a;
  __syncthreads();
#pragma unroll
  for (int w = 0; w < THREADS / 32; w++) a = fmaxf(a, memory[w]);
  return a;
}
