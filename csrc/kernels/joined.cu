// What the runs of keys gave of each query head, put together: parts [R*KV,SPLITS,G,E+2] -> o [R,HEADS*E]. A block takes
// one head of a row.
KERNEL(BLOCKS)
joined(const float *parts, bf16 *o) {
  int head = blockIdx.x;
  if (threadIdx.x >= E) return;
  parts += ((size_t)(head / G) * SPLITS * G + head % G) * (E + 2);
  float top = -1e30f, sum = 0, value = 0;
#pragma unroll
  for (int s = 0; s < SPLITS; s++) top = fmaxf(top, parts[s * G * (E + 2) + E]);
#pragma unroll
  for (int s = 0; s < SPLITS; s++) {
    const float *of = parts + s * G * (E + 2);
    float p = exponential(of[E] - top);
    sum += p * of[E + 1], value += p * of[threadIdx.x];
  }
  o[(size_t)head * E + threadIdx.x] = narrow(value / sum);
}
