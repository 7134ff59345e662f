// The gated MLP between its two products: m = silu(gate) * up, with gate and up side by side in gu [T,2F], and its
// gradients. Where adapters are small enough to be part of it, so are their products:
//
//   gate, up += t B^T            t [T,2*DIM], gate's columns first; b [2F,DIM], already scaled
//   tm = m A^T                   the low-rank input of the down projection; a [DOWN,F]
//   dm += s A                    s [T,DOWN], the gradient of tm
//   sgu = (dgate B, dup B)       [T,2*DIM], the gradient of t
//   da = s^T m, db = (t^T dgate, t^T dup)
//
// because the wide matrices would else be read once more for each. A warp goes down a strip of 32 columns, a block down
// WARPS of them side by side, one of GROUPS blocks through its share of the rows. Sums along columns are finished by
// whoever reads them, over the blocks (tm, sgu), sums along rows over the groups (da, db): no order is left to chance.
#define STEPS (DIM / 16)
#define DOWN_STEPS (DOWN / 16)
