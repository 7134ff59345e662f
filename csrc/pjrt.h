// Thin typed shim over the PJRT C API: one function per thing that gorun always does together. Each returns 0, or the
// PJRT error code with a message in *err (free it); none prints, decides or keeps a global.
#ifndef GORUN_PJRT_H
#define GORUN_PJRT_H
#include "pjrt_abi.h"

typedef struct {  // one option of a client: kind 's' string, 'i' integer, 'f' float, 'b' bool, 'l' list of integers
  const char *name;
  char kind;
  const char *s;
  int64_t i;
  float f;
  const int64_t *list;
  size_t n;
} gorun_option;

// gorun_fail takes ownership of a PJRT_Error: its code is returned and its message copied to *err.
int gorun_fail(const gorun_api *api, void *error, char **err);

int gorun_plugin_load(const char *path, const gorun_api **api, char **err);
int gorun_client_create(const gorun_api *api, const gorun_option *options, size_t n, void **client, char **err);
int gorun_client_destroy(const gorun_api *api, void *client, char **err);
int gorun_client_platform(const gorun_api *api, void *client, const char **name, size_t *name_n, const char **version,
                          size_t *version_n, char **err);
int gorun_client_devices(const gorun_api *api, void *client, void *const **devices, size_t *n, char **err);
int gorun_device_kind(const gorun_api *api, void *device, const char **kind, size_t *n, char **err);
int gorun_device_memory(const gorun_api *api, void *device, int64_t *in_use, int64_t *peak, int64_t *limit, char **err);

// The memory of a kind ("device", "pinned_host") that a device reaches, NULL if there is none.
int gorun_device_memory_of(const gorun_api *api, void *device, const char *kind, void **memory, char **err);

int gorun_compile(const gorun_api *api, void *client, const char *code, size_t n, const char *options, size_t options_n,
                  void **executable, char **err);
int gorun_serialize(const gorun_api *api, void *executable, const char **bytes, size_t *n, void **owner,
                    void **owner_free, char **err);
void gorun_serialized_free(void *owner, void *owner_free);
int gorun_deserialize(const gorun_api *api, void *client, const char *bytes, size_t n, void **executable, char **err);
int gorun_executable_destroy(const gorun_api *api, void *executable, char **err);
int gorun_executable_outputs(const gorun_api *api, void *executable, size_t *n, char **err);
int gorun_executable_memory(const gorun_api *api, void *executable, int64_t *argument, int64_t *output, int64_t *alias,
                            int64_t *temp, char **err);
int gorun_execute(const gorun_api *api, void *executable, void *const *args, size_t num_args, void **outputs,
                  void **event, char **err);

// memory NULL is the device's own.
int gorun_upload(const gorun_api *api, void *client, void *device, void *memory, const void *data, int type,
                 const int64_t *dims, size_t num_dims, void **buffer, char **err);
int gorun_copy_to_memory(const gorun_api *api, void *buffer, void *memory, void **copy, char **err);
int gorun_uninitialized(const gorun_api *api, void *client, void *device, int type, const int64_t *dims, size_t num_dims,
                        void **buffer, char **err);
int gorun_download(const gorun_api *api, void *buffer, void *dst, size_t n, void **event, char **err);
int gorun_buffer_destroy(const gorun_api *api, void *buffer, char **err);
int gorun_buffer_pointer(const gorun_api *api, void *buffer, uintptr_t *pointer, char **err);
int gorun_buffer_ready(const gorun_api *api, void *buffer, void **event, char **err);

int gorun_event_await(const gorun_api *api, void *event, char **err);
int gorun_event_destroy(const gorun_api *api, void *event, char **err);
#endif
