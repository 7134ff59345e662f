#define _GNU_SOURCE  // vasprintf
#include "kernel.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_driver.h"
#include "library.h"
#include "status.h"

enum { MOST_KERNELS = 4096, MOST_PARAMETERS = 512 };
enum { CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76, MOST_SHARED = 8 };  // of the driver
enum { LAUNCH_POINTER = 1, LAUNCH_SIZE = 2 };                           // keys of a launch's parameters

static int fail(char **err, const char *format, ...) {
  va_list list;
  va_start(list, format);
  if (vasprintf(err, format, list) < 0) *err = NULL;
  va_end(list);
  return STATUS_INTERNAL;
}

// The run-time compiler's functions that are used, by their names in its library.
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

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;  // of what follows, but for reading kernels below count
static void *contexts[64];  // the primary context of each GPU that has been used

// A kernel is a function of the driver's or, for the CPU, one of our own.
typedef struct {
  gorun_launch launch;
  const gorun_cuda_driver *driver;
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

int gorun_cuda_arch(int device, int *arch, char **err) {
  const gorun_cuda_driver *d;
  int major = 0, minor = 0, handle = 0, rc = gorun_cuda_start(&d, err);
  if (!rc) rc = gorun_cuda_outcome(d, d->device_get(&handle, device), "find the GPU", err);
  if (!rc) rc = gorun_cuda_outcome(d, d->device_attribute(&major, CAPABILITY_MAJOR, handle), "its compute capability", err);
  if (!rc) rc = gorun_cuda_outcome(d, d->device_attribute(&minor, CAPABILITY_MINOR, handle), "its compute capability", err);
  *arch = 10 * major + minor;
  return rc;
}

// entered makes the GPU the one that the calling thread works with; leave it again. The lock is held.
static int entered(const gorun_cuda_driver *d, int device, char **err) {
  int handle = 0, rc = 0;
  if (!contexts[device]) {
    rc = gorun_cuda_outcome(d, d->device_get(&handle, device), "find the GPU", err);
    if (!rc) rc = gorun_cuda_outcome(d, d->primary_retain(&contexts[device], handle), "enter the GPU's primary context", err);
  }
  return rc ? rc : gorun_cuda_outcome(d, d->context_push(contexts[device]), "enter the GPU", err);
}

// function finds the function of a cubin, ready for the current context.
static int function(const gorun_cuda_driver *d, const char *cubin, const char *name, unsigned shared, void **out, char **err) {
  void *module = NULL;
  int rc = gorun_cuda_outcome(d, d->module_load(&module, cubin), "load a cubin", err);
  if (!rc) rc = gorun_cuda_outcome(d, d->module_function(out, module, name), "find its function", err);
  if (!rc) rc = gorun_cuda_outcome(d, d->function_set(*out, MOST_SHARED, (int)shared), "shared memory of a block", err);
  return rc;
}

int gorun_kernel_load(int device, const char *cubin, const char *name, const gorun_launch *launch, char **err) {
  int most = sizeof contexts / sizeof *contexts;
  if (device < 0 || device >= most) return fail(err, "GPU %d: there are at most %d", device, most);
  kernel k = {.launch = *launch};
  int rc = gorun_cuda_start(&k.driver, err);
  if (rc) return rc;
  pthread_mutex_lock(&mutex);
  if (!find(launch->id) && !(rc = entered(k.driver, device, err))) {
    rc = function(k.driver, cubin, name, launch->shared, &k.function, err);
    void *popped;
    k.driver->context_pop(&popped);
    if (!rc) rc = add(k, err);
  }
  pthread_mutex_unlock(&mutex);
  return rc;
}

int gorun_kernel_emulate(const char *library, int64_t id, char **err) {
  kernel k = {.launch = {.id = id}};
  const gorun_symbol symbols[] = {{"gorun_emulate", (void **)&k.emulate}, {NULL, NULL}};
  int rc = gorun_library(library, symbols, NULL, err);
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
  return gorun_library(path, symbols, NULL, err);
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
  const int64_t *id = ffi_int64(c, "kernel");
  if (!id) return ffi_error(c, STATUS_INVALID_ARGUMENT, "gorun_kernel has the attribute kernel (i64)");
  *k = find(*id);
  if (!*k) return ffi_error(c, STATUS_INTERNAL, "a program calls a kernel that was not loaded with it");
  if (c->args.n + c->results.n > MOST_PARAMETERS) return ffi_error(c, STATUS_INVALID_ARGUMENT, "gorun_kernel has too many operands");
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
  const gorun_cuda_driver *d = k->driver;
  if (!d) return ffi_error(c, STATUS_INTERNAL, "a program on a GPU calls a kernel that was made for the CPU");
  char *message = NULL;
  int rc = d->launch(k->function, l->columns, l->rows, 1, l->threads, 1, 1, l->shared, stream, NULL, extra);
  if (!gorun_cuda_outcome(d, rc, "launch a kernel", &message)) return NULL;
  error = ffi_error(c, STATUS_INTERNAL, message ? message : "launch a kernel");
  free(message);
  return error;
}

void *gorun_ffi_kernel_host(ffi_call *c) {
  const kernel *k;
  void *parameters[MOST_PARAMETERS];
  if (ffi_metadata(c, 0)) return NULL;
  void *error = called(c, &k, parameters);
  if (error) return error;
  return k->emulate(parameters) ? ffi_error(c, STATUS_INTERNAL, "the threads of a kernel wait for each other for ever") : NULL;
}
