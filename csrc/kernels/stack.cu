// Matrices put together of float32 tensors, in bfloat16: COUNT of them, zero but for their pieces. Piece i is one tensor's
// numbers from number AT[i] on, in rows of WIDE[i], times FACTOR[i]; it goes to rows TOP[i] to BOTTOM[i], columns LEFT[i] to
// RIGHT[i] of its matrix. PIECE has each matrix's first piece, COLUMNS its width.
__constant__ const int piece_of[COUNT + 1] = PIECE;
__constant__ const int columns[COUNT] = COLUMNS;
__constant__ const int at_of[PIECES] = AT, wide_of[PIECES] = WIDE;
__constant__ const int top_of[PIECES] = TOP, bottom_of[PIECES] = BOTTOM, left_of[PIECES] = LEFT, right_of[PIECES] = RIGHT;
__constant__ const float factor_of[PIECES] = FACTOR;

struct Stack {
  const float *piece[PIECES];
  bf16 *matrix[COUNT];
};

KERNEL(BLOCKS) stack(Stack s) {
  int m = tensor_of(blockIdx.x), from = (blockIdx.x - first_block[m]) * CHUNK + threadIdx.x;
#pragma unroll
  for (int k = 0; k < EACH; k++) {
    int at = from + k * THREADS;
    if (at >= sizes[m]) return;
    int row = at / columns[m], column = at % columns[m];
    float x = 0.f;
    for (int i = piece_of[m]; i < piece_of[m + 1]; i++)
      if (row >= top_of[i] && row < bottom_of[i] && column >= left_of[i] && column < right_of[i])
        x = s.piece[i][at_of[i] + (row - top_of[i]) * wide_of[i] + column - left_of[i]] * factor_of[i];
    s.matrix[m][at] = narrow(x);
  }
}
