#include "pjrt_stream.h"

#include <string.h>

#include "status.h"

enum { EXT_STREAM = 3, WAIT_SLOT = 1 };

int gorun_stream_wait_buffer(const gorun_api *api, intptr_t stream, void *buffer, char **err) {
  struct {
    size_t size;
    intptr_t stream;
    void *buffer;
  } a = {sizeof a, stream, buffer};
  for (gorun_ext *e = api->ext; e; e = e->next) {
    if (e->type != EXT_STREAM || e->size < sizeof(gorun_ext) + (WAIT_SLOT + 1) * sizeof(void *)) continue;
    void *error = ((void *(**)(void *))((char *)e + sizeof(gorun_ext)))[WAIT_SLOT](&a);
    return error ? gorun_fail(api, error, err) : 0;
  }
  *err = strdup("this plugin has no streams that other libraries can work with");
  return STATUS_UNIMPLEMENTED;
}
