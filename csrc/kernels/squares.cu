// The sum of the squares of all numbers, in one part a block.
struct Squares {
  const float *tensor[COUNT];
  float *parts;
};

KERNEL(BLOCKS) squares(Squares p) {
  SHARED(float, memory);
  int i = tensor_of(blockIdx.x), from = (blockIdx.x - first_block[i]) * CHUNK + threadIdx.x;
  float sum = 0;
#pragma unroll
  for (int k = 0; k < EACH; k++) {
    int at = from + k * THREADS;
    float x = at < sizes[i] ? p.tensor[i][at] : 0.f;
    sum += x * x;
  }
  for (int mask = 16; mask; mask /= 2) sum += exchanged(sum, mask);
  if (threadIdx.x % 32 == 0) memory[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x) return;
  float all = 0;
  for (int w = 0; w < THREADS / 32; w++) all += memory[w];
  p.parts[blockIdx.x] = all;
}
