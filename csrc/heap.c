#define _GNU_SOURCE
#include "heap.h"

#include <stdlib.h>  // says which C library this is

#ifdef __GLIBC__
#include <limits.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20, GROWTH = 256 << 20 };

static _Atomic uintptr_t advised;  // up to where huge pages have been asked for

// Arenas other than the first cannot hold more than 64 MiB in one piece and unmap what is free. They can only be refused
// before the first thread has one. Where a GPU computes, compilers on many cores are what allocates most: leave it be.
__attribute__((constructor)) static void one_arena(void) {
  if (access("/dev/nvidiactl", F_OK) != 0) mallopt(M_ARENA_MAX, 1);
}

void gorun_heap_keep(void) {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_TOP_PAD, GROWTH);
  uintptr_t none = 0;
  atomic_compare_exchange_strong(&advised, &none, (uintptr_t)sbrk(0));
  free(malloc(HUGE_PAGE));  // grows the heap
  gorun_heap_huge();
}

void gorun_heap_huge(void) {
  uintptr_t top = (uintptr_t)sbrk(0), from = atomic_load(&advised);
  if (from == 0 || top <= from || !atomic_compare_exchange_strong(&advised, &from, top)) return;
  from &= ~(uintptr_t)(HUGE_PAGE - 1);
  madvise((void *)from, top - from, MADV_HUGEPAGE);  // a wish: without it the heap is only slower
}
#else
void gorun_heap_keep(void) {}
void gorun_heap_huge(void) {}
#endif
