// Float32 matrices taken out of larger results: COUNT of them, each of pieces of whole rows. Piece i is rows TOP[i] to
// BOTTOM[i]; its numbers are from AT[i] on in its source, in rows of WIDE[i], or, if its matrix is TURNED, in columns of
// them; the source has PARTS[i] parts, STRIDE[i] apart, to add up. FACTOR[i] multiplies them, and so does, by columns, weight
// number WEIGHT[i], unless that is -1.
__constant__ const int piece_of[COUNT + 1] = PIECE;
__constant__ const int columns[COUNT] = COLUMNS, turned[COUNT] = TURNED;
__constant__ const int at_of[PIECES] = AT, wide_of[PIECES] = WIDE, parts_of[PIECES] = PARTS, stride_of[PIECES] = STRIDE;
__constant__ const int top_of[PIECES] = TOP, bottom_of[PIECES] = BOTTOM, weight_of[PIECES] = WEIGHT;
__constant__ const float factor_of[PIECES] = FACTOR;

struct Unstack {
  const float *piece[PIECES];
#if WEIGHTS
  const bf16 *weight[WEIGHTS];
#endif
  float *matrix[COUNT];
};

KERNEL(BLOCKS) unstack(Unstack s) {
  int m = tensor_of(blockIdx.x), from = (blockIdx.x - first_block[m]) * CHUNK + threadIdx.x;
  int width = columns[m], height = sizes[m] / width;
#pragma unroll
  for (int k = 0; k < EACH; k++) {
    int at = from + k * THREADS;
    if (at >= sizes[m]) return;
    // Neighbours read what lies side by side in the source.
    int row = turned[m] ? at % height : at / width, column = turned[m] ? at / height : at % width;
    float sum = 0.f;
    for (int i = piece_of[m]; i < piece_of[m + 1]; i++) {
      if (row < top_of[i] || row >= bottom_of[i]) continue;
      int r = row - top_of[i];
      const float *p = s.piece[i] + at_of[i] + (turned[m] ? column * wide_of[i] + r : r * wide_of[i] + column);
#pragma unroll 8
      for (int g = 0; g < parts_of[i]; g++) sum += p[(size_t)g * stride_of[i]];
      sum *= factor_of[i];
#if WEIGHTS
      if (weight_of[i] >= 0) sum *= low(s.weight[weight_of[i]][column]);
#endif
    }
    s.matrix[m][row * width + column] = sum;
  }
}
