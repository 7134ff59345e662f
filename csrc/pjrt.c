#define _GNU_SOURCE
#include "pjrt.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "status.h"

typedef void *(*call_fn)(void *);

// has tells whether the plugin's table reaches slot i.
static int has(const gorun_api *api, int i) {
  return api->size >= offsetof(gorun_api, fn) + (size_t)(i + 1) * sizeof(void *) && api->fn[i];
}

int gorun_fail(const gorun_api *api, void *error, char **err) {
  args_string m = {.size = sizeof m, .in = error};
  ((void (*)(void *))api->fn[FN_ERROR_MESSAGE])(&m);
  *err = strndup(m.s ? m.s : "", m.n);
  args_error_code c = {.size = sizeof c, .error = error, .code = STATUS_UNKNOWN};
  void *nested = ((call_fn)api->fn[FN_ERROR_CODE])(&c);
  struct { size_t size; void *ext; void *error; } d = {sizeof d, 0, error};
  ((void (*)(void *))api->fn[FN_ERROR_DESTROY])(&d);
  if (nested) {
    d.error = nested;
    ((void (*)(void *))api->fn[FN_ERROR_DESTROY])(&d);
  }
  return c.code ? c.code : STATUS_UNKNOWN;
}

static int call(const gorun_api *api, int slot, void *args, char **err) {
  if (!has(api, slot)) {
    *err = strdup("this plugin is too old: it lacks a function that gorun needs");
    return STATUS_UNIMPLEMENTED;
  }
  void *error = ((call_fn)api->fn[slot])(args);
  return error ? gorun_fail(api, error, err) : 0;
}

int gorun_plugin_load(const char *path, const gorun_api **api, char **err) {
  void *lib = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
  if (!lib) {
    *err = strdup(dlerror());
    return STATUS_NOT_FOUND;
  }
  const gorun_api *(*get)(void) = (const gorun_api *(*)(void))dlsym(lib, "GetPjrtApi");
  if (!get || !(*api = get())) {
    *err = strdup("not a PJRT plugin: it has no GetPjrtApi");
    return STATUS_INVALID_ARGUMENT;
  }
  struct { size_t size; void *ext; } a = {sizeof a, 0};
  return call(*api, FN_PLUGIN_INIT, &a, err);
}

int gorun_client_create(const gorun_api *api, const gorun_option *options, size_t n, void **client, char **err) {
  named_value *v = calloc(n ? n : 1, sizeof *v);
  if (!v) {
    *err = strdup("no memory");
    return STATUS_INTERNAL;
  }
  for (size_t i = 0; i < n; i++) {
    const gorun_option *o = &options[i];
    v[i].size = sizeof *v;
    v[i].name = o->name;
    v[i].name_size = strlen(o->name);
    v[i].value_size = 1;
    switch (o->kind) {
      case 's': v[i].type = 0; v[i].value.s = o->s; v[i].value_size = strlen(o->s); break;
      case 'i': v[i].type = 1; v[i].value.i = o->i; break;
      case 'l': v[i].type = 2; v[i].value.list = o->list; v[i].value_size = o->n; break;
      case 'f': v[i].type = 3; v[i].value.f = o->f; break;
      default: v[i].type = 4; v[i].value.b = o->i != 0;
    }
  }
  args_client_create a = {.size = sizeof a, .options = v, .num_options = n};
  int rc = call(api, FN_CLIENT_CREATE, &a, err);
  free(v);
  *client = a.client;
  return rc;
}

// destroy calls one of the PJRT functions whose only argument is a handle.
static int destroy(const gorun_api *api, int slot, void *handle, char **err) {
  struct { size_t size; void *ext; void *handle; } a = {sizeof a, 0, handle};
  return call(api, slot, &a, err);
}

// get calls one of the PJRT functions that turn one handle into one pointer.
static int get(const gorun_api *api, int slot, void *in, void **out, char **err) {
  args_get a = {.size = sizeof a, .in = in};
  int rc = call(api, slot, &a, err);
  *out = a.out;
  return rc;
}

static int get_string(const gorun_api *api, int slot, void *in, const char **s, size_t *n, char **err) {
  args_string a = {.size = sizeof a, .in = in};
  int rc = call(api, slot, &a, err);
  *s = a.s;
  *n = a.n;
  return rc;
}

int gorun_client_destroy(const gorun_api *api, void *client, char **err) {
  return destroy(api, FN_CLIENT_DESTROY, client, err);
}

int gorun_client_platform(const gorun_api *api, void *client, const char **name, size_t *name_n, const char **version,
                          size_t *version_n, char **err) {
  int rc = get_string(api, FN_CLIENT_PLATFORM_NAME, client, name, name_n, err);
  return rc ? rc : get_string(api, FN_CLIENT_PLATFORM_VERSION, client, version, version_n, err);
}

int gorun_client_devices(const gorun_api *api, void *client, void *const **devices, size_t *n, char **err) {
  args_devices a = {.size = sizeof a, .client = client};
  int rc = call(api, FN_CLIENT_ADDRESSABLE_DEVICES, &a, err);
  *devices = a.devices;
  *n = a.num_devices;
  return rc;
}

int gorun_device_kind(const gorun_api *api, void *device, const char **kind, size_t *n, char **err) {
  void *description;
  int rc = get(api, FN_DEVICE_DESCRIPTION, device, &description, err);
  return rc ? rc : get_string(api, FN_DESCRIPTION_KIND, description, kind, n, err);
}

int gorun_device_memory(const gorun_api *api, void *device, int64_t *in_use, int64_t *peak, int64_t *limit,
                        char **err) {
  args_device_memory a = {.size = sizeof a, .device = device};
  int rc = call(api, FN_DEVICE_MEMORY_STATS, &a, err);
  *in_use = a.in_use;
  *peak = a.peak_set ? a.peak : 0;
  *limit = a.limit_set ? a.limit : 0;
  return rc;
}

int gorun_device_memory_of(const gorun_api *api, void *device, const char *kind, void **memory, char **err) {
  *memory = NULL;
  args_memories a = {.size = sizeof a, .device = device};
  int rc = call(api, FN_DEVICE_MEMORIES, &a, err);
  for (size_t i = 0; !rc && !*memory && i < a.num; i++) {
    const char *name;
    size_t n;
    rc = get_string(api, FN_MEMORY_KIND, a.memories[i], &name, &n, err);
    if (!rc && n == strlen(kind) && !memcmp(name, kind, n)) *memory = a.memories[i];
  }
  return rc;
}

int gorun_compile(const gorun_api *api, void *client, const char *code, size_t n, const char *options, size_t options_n,
                  void **executable, char **err) {
  program_text p = {.size = sizeof p, .code = code, .code_size = n, .format = "mlir", .format_size = 4};
  args_compile a = {.size = sizeof a, .client = client, .program = &p, .options = options, .options_size = options_n};
  int rc = call(api, FN_CLIENT_COMPILE, &a, err);
  *executable = a.executable;
  return rc;
}

int gorun_serialize(const gorun_api *api, void *loaded, const char **bytes, size_t *n, void **owner, void **owner_free,
                    char **err) {
  void *executable;
  int rc = get(api, FN_LOADED_GET_EXECUTABLE, loaded, &executable, err);
  if (rc) return rc;
  args_serialize a = {.size = sizeof a, .executable = executable};
  rc = call(api, FN_EXECUTABLE_SERIALIZE, &a, err);
  *bytes = a.bytes;
  *n = a.bytes_size;
  *owner = a.owner;
  *owner_free = (void *)a.free;
  char *ignored = NULL;
  if (destroy(api, FN_EXECUTABLE_DESTROY, executable, &ignored)) free(ignored);
  return rc;
}

void gorun_serialized_free(void *owner, void *owner_free) {
  if (owner_free) ((void (*)(void *))owner_free)(owner);
}

int gorun_deserialize(const gorun_api *api, void *client, const char *bytes, size_t n, void **executable, char **err) {
  args_deserialize a = {.size = sizeof a, .client = client, .bytes = bytes, .bytes_size = n};
  int rc = call(api, FN_DESERIALIZE, &a, err);
  *executable = a.executable;
  return rc;
}

int gorun_executable_destroy(const gorun_api *api, void *executable, char **err) {
  return destroy(api, FN_LOADED_DESTROY, executable, err);
}

int gorun_executable_outputs(const gorun_api *api, void *loaded, size_t *n, char **err) {
  void *executable;
  int rc = get(api, FN_LOADED_GET_EXECUTABLE, loaded, &executable, err);
  if (rc) return rc;
  args_count a = {.size = sizeof a, .executable = executable};
  rc = call(api, FN_EXECUTABLE_NUM_OUTPUTS, &a, err);
  *n = a.n;
  char *ignored = NULL;
  if (destroy(api, FN_EXECUTABLE_DESTROY, executable, &ignored)) free(ignored);
  return rc;
}

int gorun_executable_memory(const gorun_api *api, void *loaded, int64_t *argument, int64_t *output, int64_t *alias,
                            int64_t *temp, char **err) {
  void *executable;
  int rc = get(api, FN_LOADED_GET_EXECUTABLE, loaded, &executable, err);
  if (rc) return rc;
  args_memory_stats a = {.size = sizeof a, .executable = executable};
  rc = call(api, FN_MEMORY_STATS, &a, err);
  *argument = a.argument;
  *output = a.output;
  *alias = a.alias;
  *temp = a.temp;
  char *ignored = NULL;
  if (destroy(api, FN_EXECUTABLE_DESTROY, executable, &ignored)) free(ignored);
  return rc;
}

int gorun_execute(const gorun_api *api, void *executable, void *const *args, size_t num_args, void **outputs,
                  void **event, char **err) {
  execute_options o = {.size = sizeof o};
  args_execute a = {.size = sizeof a,
                    .executable = executable,
                    .options = &o,
                    .arguments = &args,
                    .num_devices = 1,
                    .num_args = num_args,
                    .outputs = &outputs,
                    .events = event};
  return call(api, FN_LOADED_EXECUTE, &a, err);
}

int gorun_upload(const gorun_api *api, void *client, void *device, void *memory, const void *data, int type,
                 const int64_t *dims, size_t num_dims, void **buffer, char **err) {
  args_from_host a = {.size = sizeof a,
                      .client = client,
                      .data = data,
                      .type = type,
                      .dims = dims,
                      .num_dims = num_dims,
                      .semantics = 0,  // immutable only during the call: the plugin copies
                      .device = device,
                      .memory = memory};
  int rc = call(api, FN_CLIENT_FROM_HOST, &a, err);
  if (rc) return rc;
  *buffer = a.buffer;
  return a.done ? gorun_event_destroy(api, a.done, err) : 0;
}

int gorun_copy_to_memory(const gorun_api *api, void *buffer, void *memory, void **copy, char **err) {
  args_copy_to_memory a = {.size = sizeof a, .buffer = buffer, .memory = memory};
  int rc = call(api, FN_BUFFER_COPY_TO_MEMORY, &a, err);
  *copy = a.copy;
  return rc;
}

int gorun_uninitialized(const gorun_api *api, void *client, void *device, int type, const int64_t *dims, size_t num_dims,
                        void **buffer, char **err) {
  args_uninitialized a = {
      .size = sizeof a, .client = client, .dims = dims, .num_dims = num_dims, .type = type, .device = device};
  int rc = call(api, FN_CLIENT_UNINITIALIZED, &a, err);
  *buffer = a.buffer;
  return rc;
}

int gorun_download(const gorun_api *api, void *buffer, void *dst, size_t n, void **event, char **err) {
  args_to_host a = {.size = sizeof a, .buffer = buffer, .dst = dst, .dst_size = n};
  int rc = call(api, FN_BUFFER_TO_HOST, &a, err);
  *event = a.event;
  return rc;
}

int gorun_buffer_destroy(const gorun_api *api, void *buffer, char **err) {
  return destroy(api, FN_BUFFER_DESTROY, buffer, err);
}

int gorun_buffer_pointer(const gorun_api *api, void *buffer, uintptr_t *pointer, char **err) {
  void *p;
  int rc = get(api, FN_BUFFER_POINTER, buffer, &p, err);
  *pointer = (uintptr_t)p;
  return rc;
}

int gorun_buffer_ready(const gorun_api *api, void *buffer, void **event, char **err) {
  return get(api, FN_BUFFER_READY, buffer, event, err);
}

int gorun_event_await(const gorun_api *api, void *event, char **err) {
  return destroy(api, FN_EVENT_AWAIT, event, err);
}

int gorun_event_destroy(const gorun_api *api, void *event, char **err) {
  return destroy(api, FN_EVENT_DESTROY, event, err);
}
