// What the files about a CUDA device share: what gorun_cuda is.
#ifndef GORUN_CUDA_DEVICE_H
#define GORUN_CUDA_DEVICE_H
#include "cuda_driver.h"
#include "cuda_stream.h"

struct gorun_cuda {
  const gorun_cuda_driver *driver;
  void *context;
};

// gorun_cuda_said is gorun_cuda_outcome of a call about a device.
static inline int gorun_cuda_said(const gorun_cuda *c, int code, const char *op, char **err) {
  return gorun_cuda_outcome(c->driver, code, op, err);
}
#endif
