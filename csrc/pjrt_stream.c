#include "pjrt_stream.h"

#include <string.h>

enum { EXT_STREAM = 3, GET_SLOT = 0, WAIT_SLOT = 1, UNIMPLEMENTED = 12 };

static int call(const gorun_api *api, int slot, void *args, char **err) {
  for (gorun_ext *e = api->ext; e; e = e->next) {
    if (e->type != EXT_STREAM || e->size < sizeof(gorun_ext) + 2 * sizeof(void *)) continue;
    void *error = ((void *(**)(void *))((char *)e + sizeof(gorun_ext)))[slot](args);
    return error ? gorun_fail(api, error, err) : 0;
  }
  *err = strdup("this plugin has no streams that other libraries can work with");
  return UNIMPLEMENTED;
}

int gorun_stream_external(const gorun_api *api, void *device, intptr_t *stream, char **err) {
  struct {
    size_t size;
    void *device;
    intptr_t stream;  // out
  } a = {sizeof a, device, 0};
  int rc = call(api, GET_SLOT, &a, err);
  *stream = a.stream;
  return rc;
}

int gorun_stream_wait_buffer(const gorun_api *api, intptr_t stream, void *buffer, char **err) {
  struct {
    size_t size;
    intptr_t stream;
    void *buffer;
  } a = {sizeof a, stream, buffer};
  return call(api, WAIT_SLOT, &a, err);
}
