// XLA's typed foreign function interface: how a custom call inside a compiled program reaches C. The structs are the
// part of its ABI that gorun uses; each starts with its size and a list of extensions.
#ifndef GORUN_FFI_H
#define GORUN_FFI_H
#include "pjrt.h"

typedef struct {
  size_t size;
  void *ext;
  int major, minor;
} ffi_version;

typedef struct {
  size_t size;
  void *ext;
  ffi_version version;
  void *internal;
  void *fn[];  // FFI_ERROR_CREATE, ..., FFI_STREAM_GET
} ffi_api;

enum { FFI_ERROR_CREATE = 0, FFI_STREAM_GET = 4 };
enum { FFI_RECORDS = 1 };

typedef struct {
  size_t size;
  void *ext;
  int dtype;  // as XLA numbers element types, not as PJRT does
  void *data;
  int64_t rank;
  int64_t *dims;
} ffi_buffer;

typedef struct {
  size_t size;
  void *ext;
  int64_t n;
  int *types;
  void **values;
} ffi_list;

typedef struct {
  size_t size;
  void *ext;
  int64_t n;
  int *types;
  void **names, **values;
} ffi_attributes;

typedef struct {  // what a handler is called with
  size_t size;
  gorun_ext *ext;
  const ffi_api *api;
  void *context;
  int stage;
  ffi_list args, results;
  ffi_attributes attributes;
  void *future;
} ffi_call;

// A handler returns NULL or an error made by ffi_error. It is first called with the metadata extension, which
// ffi_metadata answers: FFI_RECORDS among the traits says that what the handler does on a GPU is launches on its stream
// alone, which XLA may record once and replay (CUDA graphs).
typedef void *ffi_handler(ffi_call *);

int ffi_metadata(ffi_call *c, int traits);
void *ffi_error(ffi_call *c, int code, const char *message);

// ffi_stream tells the CUDA stream that a call is to work on; it returns NULL or an error.
void *ffi_stream(ffi_call *c, void **stream);

// ffi_attribute finds an attribute of a call by name; NULL if there is none of that type.
enum { FFI_SCALAR = 3, FFI_STRING = 4 };
void *ffi_attribute(ffi_call *c, const char *name, int type);

// ffi_int32 and ffi_int64 are the value of an attribute of type i32 or i64; NULL if there is none.
const int32_t *ffi_int32(ffi_call *c, const char *name);
const int64_t *ffi_int64(ffi_call *c, const char *name);

// ffi_elements is how many elements an array has.
int64_t ffi_elements(const ffi_buffer *b);

typedef struct {  // the value of a string attribute
  const char *data;
  size_t n;
} ffi_bytes;

// gorun_ffi_register makes a handler known to the plugin as the target `name` of custom calls on `platform`; traits as
// its metadata has them.
int gorun_ffi_register(const gorun_api *api, const char *name, const char *platform, ffi_handler *handler, int traits,
                       char **err);

// gorun_ffi_copy is a handler that copies its argument to its result, on CPU; doctor and tests use it to see that
// custom calls reach us.
void *gorun_ffi_copy(ffi_call *c);
#endif
