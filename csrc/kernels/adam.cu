// One step of Adam or, with DECOUPLED, AdamW, as torch.optim computes them, in place. hyper is the learning rate and the
// two bias corrections, scale what gradients are multiplied by.
__constant__ const float rates[COUNT] = RATES;  // each tensor's own learning rate, in multiples of hyper's

struct Adam {
  const float *p[COUNT], *m[COUNT], *v[COUNT], *g[COUNT], *hyper, *scale;
  float *new_p[COUNT], *new_m[COUNT], *new_v[COUNT];
};

KERNEL(BLOCKS) adam(Adam a) {
  int i = tensor_of(blockIdx.x), from = (blockIdx.x - first_block[i]) * CHUNK + threadIdx.x;
  float rate = a.hyper[0] * rates[i], bias1 = a.hyper[1], bias2 = sqrtf(a.hyper[2]), scale = *a.scale;
#pragma unroll
  for (int k = 0; k < EACH; k++) {
    int at = from + k * THREADS;
    if (at >= sizes[i]) return;
    float p = a.p[i][at], m = a.m[i][at], v = a.v[i][at], g = a.g[i][at] * scale;
#if DECOUPLED
    p *= 1.f - rate * DECAY;
#else
    g += p * DECAY;
#endif
    m = m * BETA1 + g * REST1;
    v = v * BETA2 + g * g * REST2;
    a.new_p[i][at] = p - rate / bias1 * (m / (sqrtf(v) / bias2 + EPS));
    a.new_m[i][at] = m;
    a.new_v[i][at] = v;
  }
}
