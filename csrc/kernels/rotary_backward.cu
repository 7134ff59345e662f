// The gradient of the product's rows of those of q, k and v.
KERNEL(BLOCKS)
rotary_backward(const bf16 *q, const bf16 *k, const bf16 *v, const float *cosine, const float *sine, bf16 *qkv) {
  size_t row = blockIdx.x;
  for (int item = threadIdx.x; item < ITEMS; item += THREADS) {
    Place p = place(item);
    const bf16 *in = apart(q, k, v, row, p);
    bf16 *out = qkv + row * N + p.head * E + p.at;
    Eight x = read_once(in);
    if (item < TURNED) {
      Eight y = read_once(in + HALF);
      turn(x, y, cosine + row * HALF + p.at, sine + row * HALF + p.at, -1.f);
      write(out + HALF, y);
    }
    write(out, x);
  }
}
