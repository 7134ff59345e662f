// The part of the PJRT C API that gorun uses, written down from its published layout: argument structs and the
// numbers of the function-pointer slots. The table of a plugin only grows, and each struct starts with its size,
// so a plugin refuses what it does not understand. PJRT handles are opaque here.
#ifndef GORUN_PJRT_ABI_H
#define GORUN_PJRT_ABI_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct gorun_ext {  // PJRT_Extension_Base
  size_t size;
  int type;
  struct gorun_ext *next;
} gorun_ext;

typedef struct {  // PJRT_Api: a version, then the slots
  size_t size;
  gorun_ext *ext;
  struct {
    size_t size;
    void *ext;
    int major, minor;
  } version;
  void *fn[];
} gorun_api;

enum {  // slots of PJRT_Api
  FN_ERROR_DESTROY = 0,
  FN_ERROR_MESSAGE = 1,
  FN_ERROR_CODE = 2,
  FN_PLUGIN_INIT = 3,
  FN_EVENT_DESTROY = 5,
  FN_EVENT_AWAIT = 8,
  FN_CLIENT_CREATE = 10,
  FN_CLIENT_DESTROY = 11,
  FN_CLIENT_PLATFORM_NAME = 12,
  FN_CLIENT_PLATFORM_VERSION = 14,
  FN_CLIENT_ADDRESSABLE_DEVICES = 16,
  FN_CLIENT_COMPILE = 20,
  FN_CLIENT_FROM_HOST = 22,
  FN_DESCRIPTION_KIND = 26,
  FN_DEVICE_DESCRIPTION = 29,
  FN_DEVICE_MEMORIES = 32,
  FN_DEVICE_MEMORY_STATS = 34,
  FN_MEMORY_KIND = 36,
  FN_EXECUTABLE_DESTROY = 40,
  FN_EXECUTABLE_NUM_OUTPUTS = 44,
  FN_EXECUTABLE_SERIALIZE = 49,
  FN_LOADED_DESTROY = 50,
  FN_LOADED_GET_EXECUTABLE = 51,
  FN_LOADED_EXECUTE = 55,
  FN_DESERIALIZE = 56,
  FN_BUFFER_DESTROY = 58,
  FN_BUFFER_TO_HOST = 70,
  FN_BUFFER_READY = 72,
  FN_BUFFER_POINTER = 73,
  FN_BUFFER_COPY_TO_MEMORY = 92,
  FN_MEMORY_STATS = 96,
  FN_CLIENT_UNINITIALIZED = 112,
};

enum { EXT_FFI = 5 };

// A call whose only fields are one input handle and one output pointer covers many slots.
typedef struct {
  size_t size;
  void *ext;
  void *in;
  void *out;
} args_get;

typedef struct {  // a string of the plugin: Error_Message, PlatformName, PlatformVersion, Description_Kind
  size_t size;
  void *ext;
  const void *in;
  const char *s;
  size_t n;
} args_string;

typedef struct {
  size_t size;
  void *ext;
  const void *error;
  int code;
} args_error_code;

typedef struct {  // PJRT_NamedValue
  size_t size;
  void *ext;
  const char *name;
  size_t name_size;
  int type;
  union {
    const char *s;
    int64_t i;
    const int64_t *list;
    float f;
    bool b;
  } value;
  size_t value_size;
} named_value;

typedef struct {
  size_t size;
  void *ext;
  const named_value *options;
  size_t num_options;
  void *kv_get, *kv_get_arg, *kv_put, *kv_put_arg;
  void *client;  // out
  void *kv_try_get, *kv_try_get_arg;
} args_client_create;

typedef struct {
  size_t size;
  void *ext;
  void *client;
  void *const *devices;  // out
  size_t num_devices;    // out
} args_devices;

typedef struct {  // PJRT_Program
  size_t size;
  void *ext;
  const char *code;
  size_t code_size;
  const char *format;
  size_t format_size;
} program_text;

typedef struct {
  size_t size;
  void *ext;
  void *client;
  const program_text *program;
  const char *options;
  size_t options_size;
  void *executable;  // out
} args_compile;

typedef struct {
  size_t size;
  void *ext;
  void *client;
  const char *bytes;
  size_t bytes_size;
  void *executable;  // out
  const char *options;
  size_t options_size;
} args_deserialize;

typedef struct {
  size_t size;
  void *ext;
  const void *executable;
  const char *bytes;    // out
  size_t bytes_size;    // out
  void *owner;          // out
  void (*free)(void *);  // out
} args_serialize;

typedef struct {
  size_t size;
  void *ext;
  void *client;
  const void *data;
  int type;
  const int64_t *dims;
  size_t num_dims;
  const int64_t *strides;
  size_t num_strides;
  int semantics;
  void *device, *memory, *layout;
  void *done;    // out, event
  void *buffer;  // out
} args_from_host;

typedef struct {
  size_t size;
  void *ext;
  void *device;
  void *const *memories;  // out, the device's
  size_t num;             // out
} args_memories;

typedef struct {
  size_t size;
  void *ext;
  void *buffer;
  void *memory;  // where to
  void *copy;    // out
} args_copy_to_memory;

typedef struct {
  size_t size;
  void *ext;
  void *client;
  const int64_t *dims;
  size_t num_dims;
  int type;
  void *layout;
  void *device;
  void *memory;
  void *buffer;  // out
} args_uninitialized;

typedef struct {
  size_t size;
  void *ext;
  void *device;
  int64_t in_use;  // out
  int64_t peak;    // out
  bool peak_set;
  int64_t allocs;
  bool allocs_set;
  int64_t largest;
  bool largest_set;
  int64_t limit;  // out
  bool limit_set;
  int64_t more[12];  // counters we do not read, each with whether it is set
} args_device_memory;

typedef struct {  // PJRT_ExecuteOptions
  size_t size;
  void *ext;
  void *send, *recv;
  size_t num_send, num_recv;
  int launch_id;
  const int64_t *keep;  // donatable inputs that must not be donated
  size_t num_keep;
  void *context;
  const char *call_location;
  size_t num_tasks;
  int *task_ids;
  int64_t *incarnations;
  void *multi_slice;
} execute_options;

typedef struct {
  size_t size;
  void *ext;
  void *executable;
  execute_options *options;
  void *const *const *arguments;
  size_t num_devices, num_args;
  void **const *outputs;
  void **events;
  void *device;
} args_execute;

typedef struct {
  size_t size;
  void *ext;
  void *executable;
  size_t n;  // out
} args_count;

typedef struct {
  size_t size;
  void *ext;
  void *executable;
  int64_t code, argument, output, alias, temp;  // out, bytes on the device
  int64_t host[5];
  int64_t peak;  // out
  int64_t more[4];
} args_memory_stats;

typedef struct {
  size_t size;
  void *ext;
  void *buffer;
  void *layout;
  void *dst;
  size_t dst_size;
  void *event;  // out
} args_to_host;

#endif
