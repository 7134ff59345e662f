// A driver without a GPU: it says what it is asked, a line for each call that the test looks at. With OLD it lacks a
// function.
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <stdio.h>

#define SAY(...) dprintf(STDOUT_FILENO, "cuda: " __VA_ARGS__)

enum { INVALID_IMAGE = 200, INVALID_DEVICE = 101, NOT_READY = 600 };

int cuGetErrorString(int code, const char **text) {
  *text = code == INVALID_DEVICE ? "invalid device ordinal" : code == INVALID_IMAGE ? "device kernel image is invalid" : "other";
  return 0;
}
int cuInit(unsigned flags) { SAY("init %u\n", flags); return 0; }
int cuDeviceGet(int *handle, int device) { *handle = device + 16; return device < 2 ? 0 : INVALID_DEVICE; }
int cuDeviceGetAttribute(int *value, int attribute, int handle) { *value = attribute == 75 ? 9 : 0; return handle < 16; }
int cuDevicePrimaryCtxRetain(void **context, int handle) {
  SAY("retain %d\n", handle);
  *context = (void *)(intptr_t)(handle * 16);
  return 0;
}
int cuCtxSetCurrent(void *context) { SAY("enter %p\n", context); return 0; }
int cuCtxPushCurrent_v2(void *context) { SAY("push %p\n", context); return 0; }
int cuCtxPopCurrent_v2(void **context) { *context = NULL; SAY("pop\n"); return 0; }
int cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return 0; }
int cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) {
  SAY("stream %u %d\n", flags, priority);
  *stream = (void *)99;
  return 0;
}
int cuStreamDestroy_v2(void *stream) { SAY("destroy stream %p\n", stream); return 0; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { SAY("wait %p %p %u\n", stream, event, flags); return 0; }
int cuEventCreate(void **event, unsigned flags) { *event = (void *)85; return flags; }
int cuEventDestroy_v2(void *event) { SAY("destroy event %p\n", event); return 0; }
int cuEventRecord(void *event, void *stream) { SAY("record %p %p\n", event, stream); return 0; }
int cuEventQuery(void *event) {
  static int asked;
  return event && asked++ ? 0 : NOT_READY;
}
int cuEventElapsedTime(float *milliseconds, void *begin, void *end) { *milliseconds = begin == end ? 1.5f : 0; return 0; }
int cuMemsetD8Async(uintptr_t at, unsigned char value, size_t n, void *stream) {
  SAY("set %lx %d %zu %p\n", (unsigned long)at, value, n, stream);
  return 0;
}
typedef struct { char bytes[64]; } name;
int cuMemAlloc_v2(uintptr_t *at, size_t n) { SAY("take %zu\n", n); *at = 0x7000; return 0; }
int cuMemFree_v2(uintptr_t at) { SAY("give back %lx\n", (unsigned long)at); return 0; }
int cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t n, void *stream) {
  SAY("copy %lx %lx %zu %p\n", (unsigned long)to, (unsigned long)from, n, stream);
  return 0;
}
int cuIpcGetMemHandle(name *out, uintptr_t at) { *out = (name){{'m', (char)(at >> 12)}}; return 0; }
int cuIpcOpenMemHandle_v2(uintptr_t *at, name in, unsigned flags) { *at = (uintptr_t)in.bytes[1] << 16; return in.bytes[0] == 'm' && flags == 1 ? 0 : INVALID_DEVICE; }
int cuIpcCloseMemHandle(uintptr_t at) { SAY("forget %lx\n", (unsigned long)at); return 0; }
int cuModuleLoadData(void **module, const void *cubin) { *module = (void *)3; return *(const char *)cubin == 'c' ? 0 : INVALID_IMAGE; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
  SAY("function %s\n", name);
  *function = module;
  return 0;
}
int cuFuncSetAttribute(void *function, int attribute, int value) { SAY("attribute %d %d\n", attribute, value); return !function; }
#ifndef OLD
int cuLaunchKernel(void) { return 0; }
#endif
