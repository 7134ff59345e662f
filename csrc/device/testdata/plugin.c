// A PJRT plugin that has no device: its client cannot be made, for the reason that the environment's FAULT gives. Slots
// are those of csrc/pjrt_abi.h.
#include <stdlib.h>
#include <string.h>

typedef struct { size_t size; void *ext; void *error; const char *message; size_t n; } message;
typedef struct { size_t size; void *ext; void *error; int code; } code;

static int fault;
static void *fine(void *args) { (void)args; return 0; }
static void *fail(void *args) { (void)args; return &fault; }
static void *say(message *m) { m->message = getenv("FAULT"); m->n = strlen(m->message); return 0; }
static void *rate(code *c) { c->code = 13; return 0; }

static struct {
  size_t size; void *ext;
  struct { size_t size; void *ext; int major, minor; } version;
  void *fn[128];
} api = {sizeof api, 0, {24, 0, 0, 115}, {[0] = fine, [1] = say, [2] = rate, [3] = fine, [10] = fail}};

void *GetPjrtApi(void) { return &api; }
