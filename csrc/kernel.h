// gorun's own kernels in programs: a typed custom call launches the one that its attribute `kernel` numbers, on XLA's
// stream. CUDA's driver and its run-time compiler (NVRTC) are loaded when first needed; without them there are no kernels.
#ifndef GORUN_KERNEL_H
#define GORUN_KERNEL_H
#include "ffi.h"

// How a kernel is launched; the grid has columns * rows blocks.
typedef struct {
  int64_t id;
  unsigned columns, rows, threads, shared;
} gorun_launch;

// gorun_nvrtc_open loads NVRTC, for the whole process: no other thread may be in a function of NVRTC. Like all functions
// here it returns 0, or a code, and then *err says why (free it).
int gorun_nvrtc_open(const char *path, char **err);
int gorun_nvrtc_version(int *major, int *minor, char **err);

// gorun_nvrtc_compile makes a cubin of CUDA C; on failure *err has the compiler's log. *cubin is to be freed.
int gorun_nvrtc_compile(const char *source, const char *name, const char *const *options, int options_n, char **cubin,
                        size_t *n, char **err);

// gorun_cuda_arch is the compute capability of a GPU, 90 for 9.0.
int gorun_cuda_arch(int device, int *arch, char **err);

// gorun_kernel_load makes a kernel of a cubin ready for launches on a GPU; a number that is known already changes nothing.
int gorun_kernel_load(int device, const char *cubin, const char *name, const gorun_launch *launch, char **err);

// gorun_kernel_emulate makes a kernel that was compiled for the CPU ready; see kernels/emulator.cuh.
int gorun_kernel_emulate(const char *library, int64_t id, char **err);

int gorun_kernel_known(int64_t id);

// The handlers, for CUDA and for the CPU.
void *gorun_ffi_kernel_cuda(ffi_call *c);
void *gorun_ffi_kernel_host(ffi_call *c);
#endif
