// PJRT's Stream extension: how work on a stream of ours and XLA's own follow each other without the host waiting.
#ifndef GORUN_PJRT_STREAM_H
#define GORUN_PJRT_STREAM_H
#include "pjrt.h"

// gorun_stream_wait_buffer makes what is queued on the stream from now on wait for the buffer's contents.
int gorun_stream_wait_buffer(const gorun_api *api, intptr_t stream, void *buffer, char **err);
#endif
