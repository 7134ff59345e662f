#include "ffi.h"

#include <stdlib.h>
#include <string.h>

#include "status.h"

enum { METADATA_EXTENSION = 1, REGISTER_SLOT = 2 };
enum { S32 = 4, S64 = 5, F32 = 11 };  // as XLA numbers element types

typedef struct {
  size_t size;
  ffi_version version;
  uint32_t traits;
} metadata;

int ffi_metadata(ffi_call *c, int traits) {
  if (!c->ext || c->ext->type != METADATA_EXTENSION) return 0;
  metadata *m = *(metadata **)((char *)c->ext + sizeof(gorun_ext));
  m->version.major = c->api->version.major;
  m->version.minor = c->api->version.minor;
  m->traits = (uint32_t)traits;
  return 1;
}

void *ffi_error(ffi_call *c, int code, const char *message) {
  struct {
    size_t size;
    void *ext;
    const char *message;
    int code;
  } a = {sizeof a, 0, message, code};
  return ((void *(*)(void *))c->api->fn[FFI_ERROR_CREATE])(&a);
}

void *ffi_stream(ffi_call *c, void **stream) {
  struct {
    size_t size;
    void *ext, *context, *stream;
  } a = {sizeof a, NULL, c->context, NULL};
  void *error = ((void *(*)(void *))c->api->fn[FFI_STREAM_GET])(&a);
  *stream = a.stream;
  return error;
}

void *ffi_attribute(ffi_call *c, const char *name, int type) {
  for (int64_t i = 0; i < c->attributes.n; i++) {
    ffi_bytes *b = c->attributes.names[i];
    if (b->n == strlen(name) && !memcmp(b->data, name, b->n)) return c->attributes.types[i] == type ? c->attributes.values[i] : NULL;
  }
  return NULL;
}

static const void *scalar(ffi_call *c, const char *name, int dtype) {
  struct {
    int dtype;
    const void *value;
  } *s = ffi_attribute(c, name, FFI_SCALAR);
  return s && s->dtype == dtype ? s->value : NULL;
}

const int32_t *ffi_int32(ffi_call *c, const char *name) { return scalar(c, name, S32); }
const int64_t *ffi_int64(ffi_call *c, const char *name) { return scalar(c, name, S64); }

int64_t ffi_elements(const ffi_buffer *b) {
  int64_t n = 1;
  for (int64_t i = 0; i < b->rank; i++) n *= b->dims[i];
  return n;
}

int gorun_ffi_register(const gorun_api *api, const char *name, const char *platform, ffi_handler *handler, int traits, char **err) {
  for (gorun_ext *e = api->ext; e; e = e->next) {
    if (e->type != EXT_FFI) continue;
    void *(*add)(void *) = ((void *(**)(void *))((char *)e + sizeof(gorun_ext)))[REGISTER_SLOT];
    struct {
      size_t size;
      const char *name;
      size_t name_n;
      void *handler;
      const char *platform;
      size_t platform_n;
      int traits;
    } a = {sizeof a, name, strlen(name), (void *)handler, platform, strlen(platform), traits};
    void *error = add(&a);
    return error ? gorun_fail(api, error, err) : 0;
  }
  *err = strdup("this plugin has no foreign function interface");
  return STATUS_UNIMPLEMENTED;
}

void *gorun_ffi_copy(ffi_call *c) {
  if (ffi_metadata(c, 0)) return NULL;
  if (c->args.n != 1 || c->results.n != 1) return ffi_error(c, STATUS_INVALID_ARGUMENT, "gorun_copy takes one argument and gives one result");
  ffi_buffer *in = c->args.values[0], *out = c->results.values[0];
  if (in->dtype != F32) return ffi_error(c, STATUS_INVALID_ARGUMENT, "gorun_copy takes float32");
  if (in->data != out->data) memcpy(out->data, in->data, sizeof(float) * (size_t)ffi_elements(in));
  return NULL;
}
