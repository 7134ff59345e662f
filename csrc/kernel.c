#define _GNU_SOURCE  // vasprintf
#include "kernel.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"

enum { MOST_KERNELS = 4096, MOST_PARAMETERS = 512, INVALID_ARGUMENT = 3, INTERNAL = 13 };
enum { CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76, MOST_SHARED = 8 };        // of the driver
enum { LAUNCH_POINTER = 1, LAUNCH_SIZE = 2 };                                 // keys of a launch's parameters

static int fail(char **err, const char *format, ...) {
  va_list list;
  va_start(list, format);
  if (vasprintf(err, format, list) < 0) *err = NULL;
  va_end(list);
  return INTERNAL;
}

// The driver's functions that are used, by their names in its library.
static struct {
  int (*Init)(unsigned);
  int (*GetErrorString)(int, const char **);
  int (*DeviceGet)(int *, int);
  int (*DeviceGetAttribute)(int *, int, int);
  int (*DevicePrimaryCtxRetain)(void **, int);
  int (*CtxPushCurrent)(void *);
  int (*CtxPopCurrent)(void **);
  int (*ModuleLoadData)(void **, const void *);
  int (*ModuleGetFunction)(void **, void *, const char *);
  int (*FuncSetAttribute)(void *, int, int);
  int (*LaunchKernel)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
} cuda;

static struct {
  int (*Version)(int *, int *);
  const char *(*GetErrorString)(int);
  int (*CreateProgram)(void **, const char *, const char *, int, const char *const *, const char *const *);
  int (*DestroyProgram)(void **);
  int (*CompileProgram)(void *, int, const char *const *);
  int (*GetProgramLogSize)(void *, size_t *);
  int (*GetProgramLog)(void *, char *);
  int (*GetCUBINSize)(void *, size_t *);
  int (*GetCUBIN)(void *, char *);
} nvrtc;

static int load(const char *path, const gorun_symbol *symbols, char **err) {
  return gorun_library(path, symbols, NULL, err) ? INTERNAL : 0;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;  // of what follows, but for reading kernels below count
static int cuda_open;
static void *contexts[64];  // the primary context of each GPU that has been used

// A kernel is a driver's function or, for the CPU, one of our own.
typedef struct {
  gorun_launch launch;
  void *function;
  int (*emulate)(void **);
} kernel;
static kernel kernels[MOST_KERNELS];
static int count;

static const kernel *find(int64_t id) {
  int n = __atomic_load_n(&count, __ATOMIC_ACQUIRE);
  for (int i = 0; i < n; i++)
    if (kernels[i].launch.id == id) return &kernels[i];
  return NULL;
}

int gorun_kernel_known(int64_t id) { return find(id) != NULL; }

static int add(kernel k, char **err) {
  int n = count;
  if (find(k.launch.id)) return 0;
  if (n == MOST_KERNELS) return fail(err, "more than %d kernels", MOST_KERNELS);
  kernels[n] = k;
  __atomic_store_n(&count, n + 1, __ATOMIC_RELEASE);
  return 0;
}

static int driver(char **err) {
  if (cuda_open) return 0;
  const gorun_symbol symbols[] = {
      {"cuInit", (void **)&cuda.Init},
      {"cuGetErrorString", (void **)&cuda.GetErrorString},
      {"cuDeviceGet", (void **)&cuda.DeviceGet},
      {"cuDeviceGetAttribute", (void **)&cuda.DeviceGetAttribute},
      {"cuDevicePrimaryCtxRetain", (void **)&cuda.DevicePrimaryCtxRetain},
      {"cuCtxPushCurrent_v2", (void **)&cuda.CtxPushCurrent},
      {"cuCtxPopCurrent_v2", (void **)&cuda.CtxPopCurrent},
      {"cuModuleLoadData", (void **)&cuda.ModuleLoadData},
      {"cuModuleGetFunction", (void **)&cuda.ModuleGetFunction},
      {"cuFuncSetAttribute", (void **)&cuda.FuncSetAttribute},
      {"cuLaunchKernel", (void **)&cuda.LaunchKernel},
      {NULL, NULL},
  };
  int rc = load("libcuda.so.1", symbols, err);
  if (rc) return rc;
  if ((rc = cuda.Init(0))) return fail(err, "cuInit: error %d of the NVIDIA driver", rc);
  cuda_open = 1;
  return 0;
}

static int checked(int rc, const char *what, char **err) {
  const char *why = NULL;
  if (!rc) return 0;
  cuda.GetErrorString(rc, &why);
  return fail(err, "%s: %s", what, why ? why : "unknown error of the NVIDIA driver");
}

int gorun_cuda_arch(int device, int *arch, char **err) {
  int major = 0, minor = 0, handle = 0;
  pthread_mutex_lock(&mutex);
  int rc = driver(err);
  if (!rc) rc = checked(cuda.DeviceGet(&handle, device), "cuDeviceGet", err);
  if (!rc) rc = checked(cuda.DeviceGetAttribute(&major, CAPABILITY_MAJOR, handle), "cuDeviceGetAttribute", err);
  if (!rc) rc = checked(cuda.DeviceGetAttribute(&minor, CAPABILITY_MINOR, handle), "cuDeviceGetAttribute", err);
  pthread_mutex_unlock(&mutex);
  *arch = 10 * major + minor;
  return rc;
}

// loaded makes the function of a cubin in the current context.
static int loaded(const char *cubin, const char *name, unsigned shared, void **function, char **err) {
  void *module = NULL;
  int rc = checked(cuda.ModuleLoadData(&module, cubin), "cuModuleLoadData", err);
  if (!rc) rc = checked(cuda.ModuleGetFunction(function, module, name), "cuModuleGetFunction", err);
  if (!rc) rc = checked(cuda.FuncSetAttribute(*function, MOST_SHARED, (int)shared), "shared memory of a block", err);
  return rc;
}

int gorun_kernel_load(int device, const char *cubin, const char *name, const gorun_launch *launch, char **err) {
  int handle = 0, most = sizeof contexts / sizeof *contexts;
  if (device < 0 || device >= most) return fail(err, "GPU %d: there are at most %d", device, most);
  pthread_mutex_lock(&mutex);
  int rc = driver(err);
  kernel k = {*launch, NULL, NULL};
  if (!rc && !find(launch->id)) {
    rc = checked(cuda.DeviceGet(&handle, device), "cuDeviceGet", err);
    if (!rc && !contexts[device])
      rc = checked(cuda.DevicePrimaryCtxRetain(&contexts[device], handle), "cuDevicePrimaryCtxRetain", err);
    if (!rc) rc = checked(cuda.CtxPushCurrent(contexts[device]), "cuCtxPushCurrent", err);
    if (!rc) {
      rc = loaded(cubin, name, launch->shared, &k.function, err);
      void *popped;
      cuda.CtxPopCurrent(&popped);
    }
    if (!rc) rc = add(k, err);
  }
  pthread_mutex_unlock(&mutex);
  return rc;
}

int gorun_kernel_emulate(const char *library, int64_t id, char **err) {
  kernel k = {{.id = id}, NULL, NULL};
  const gorun_symbol symbols[] = {{"gorun_emulate", (void **)&k.emulate}, {NULL, NULL}};
  int rc = load(library, symbols, err);
  pthread_mutex_lock(&mutex);
  if (!rc) rc = add(k, err);
  pthread_mutex_unlock(&mutex);
  return rc;
}

int gorun_nvrtc_open(const char *path, char **err) {
  const gorun_symbol symbols[] = {
      {"nvrtcVersion", (void **)&nvrtc.Version},
      {"nvrtcGetErrorString", (void **)&nvrtc.GetErrorString},
      {"nvrtcCreateProgram", (void **)&nvrtc.CreateProgram},
      {"nvrtcDestroyProgram", (void **)&nvrtc.DestroyProgram},
      {"nvrtcCompileProgram", (void **)&nvrtc.CompileProgram},
      {"nvrtcGetProgramLogSize", (void **)&nvrtc.GetProgramLogSize},
      {"nvrtcGetProgramLog", (void **)&nvrtc.GetProgramLog},
      {"nvrtcGetCUBINSize", (void **)&nvrtc.GetCUBINSize},
      {"nvrtcGetCUBIN", (void **)&nvrtc.GetCUBIN},
      {NULL, NULL},
  };
  return load(path, symbols, err);
}

int gorun_nvrtc_version(int *major, int *minor, char **err) {
  int rc = nvrtc.Version(major, minor);
  return rc ? fail(err, "nvrtcVersion: %s", nvrtc.GetErrorString(rc)) : 0;
}

// compiler_log is what the compiler said, to be freed; NULL if that cannot be had.
static char *compiler_log(void *program) {
  size_t n = 0;
  char *text = NULL;
  if (nvrtc.GetProgramLogSize(program, &n) || !(text = calloc(1, n + 1))) return NULL;
  if (nvrtc.GetProgramLog(program, text)) text[0] = 0;
  return text;
}

int gorun_nvrtc_compile(const char *source, const char *name, const char *const *options, int options_n, char **cubin,
                        size_t *n, char **err) {
  void *program = NULL;
  *cubin = NULL;
  int rc = nvrtc.CreateProgram(&program, source, name, 0, NULL, NULL);
  if (rc) return fail(err, "nvrtcCreateProgram: %s", nvrtc.GetErrorString(rc));
  rc = nvrtc.CompileProgram(program, options_n, options);
  if (!rc) rc = nvrtc.GetCUBINSize(program, n);
  if (!rc && !(*cubin = malloc(*n))) rc = 1;  // out of memory
  if (!rc) rc = nvrtc.GetCUBIN(program, *cubin);
  if (rc) {
    char *text = compiler_log(program);
    fail(err, "%s\n%s", nvrtc.GetErrorString(rc), text ? text : "");
    free(text);
    free(*cubin);
  }
  nvrtc.DestroyProgram(&program);
  return rc;
}

// called reads which kernel a call is for and its parameters; it returns NULL, or an error for XLA.
static void *called(ffi_call *c, const kernel **k, void **parameters) {
  enum { SCALAR = 3, S64 = 5 };
  struct {
    int dtype;
    int64_t *value;
  } *id = c->attributes.n == 1 && c->attributes.types[0] == SCALAR ? c->attributes.values[0] : NULL;
  if (!id || id->dtype != S64) return ffi_error(c, INVALID_ARGUMENT, "gorun_kernel has one attribute, kernel (i64)");
  *k = find(*id->value);
  if (!*k) return ffi_error(c, INTERNAL, "a program calls a kernel that was not loaded with it");
  if (c->args.n + c->results.n > MOST_PARAMETERS) return ffi_error(c, INVALID_ARGUMENT, "gorun_kernel has too many operands");
  for (int64_t i = 0; i < c->args.n; i++) parameters[i] = ((ffi_buffer *)c->args.values[i])->data;
  for (int64_t i = 0; i < c->results.n; i++) parameters[c->args.n + i] = ((ffi_buffer *)c->results.values[i])->data;
  return NULL;
}

void *gorun_ffi_kernel_cuda(ffi_call *c) {
  const kernel *k;
  void *parameters[MOST_PARAMETERS];
  if (ffi_metadata(c, FFI_RECORDS)) return NULL;
  void *error = called(c, &k, parameters);
  if (error) return error;
  void *stream;
  if ((error = ffi_stream(c, &stream))) return error;
  size_t bytes = (size_t)(c->args.n + c->results.n) * sizeof *parameters;
  void *extra[] = {(void *)LAUNCH_POINTER, parameters, (void *)LAUNCH_SIZE, &bytes, NULL};
  const gorun_launch *l = &k->launch;
  char *message = NULL;
  int rc = cuda.LaunchKernel(k->function, l->columns, l->rows, 1, l->threads, 1, 1, l->shared, stream, NULL, extra);
  if (!checked(rc, "launch of a kernel", &message)) return NULL;
  error = ffi_error(c, INTERNAL, message ? message : "launch of a kernel");
  free(message);
  return error;
}

void *gorun_ffi_kernel_host(ffi_call *c) {
  const kernel *k;
  void *parameters[MOST_PARAMETERS];
  if (ffi_metadata(c, 0)) return NULL;
  void *error = called(c, &k, parameters);
  if (error) return error;
  return k->emulate(parameters) ? ffi_error(c, INTERNAL, "the threads of a kernel wait for each other for ever") : NULL;
}
