// Lists of float32 tensors, COUNT of them, in one launch: a block takes CHUNK numbers of one tensor, the one whose blocks
// it is among: FIRST has each tensor's first block, SIZES their numbers.
#define CHUNK (THREADS * EACH)
__constant__ const int first_block[COUNT] = FIRST;
__constant__ const int sizes[COUNT] = SIZES;

INLINE int tensor_of(int block) {
  int i = 0;
  while (i + 1 < COUNT && first_block[i + 1] <= block) i++;
  return i;
}
